package org.apache.openwhisk.core.containerpool.kaas

/** What the plugin uses of its line's actor library: OpenWhisk 2.0.0 has Akka. */
object ActorLibrary {
  type ActorSystem = akka.actor.ActorSystem
  type ByteString = akka.util.ByteString
  type LogLevel = akka.event.Logging.LogLevel
  type Source[+Out, +Mat] = akka.stream.scaladsl.Source[Out, Mat]

  val ActorSystem: akka.actor.ActorSystem.type = akka.actor.ActorSystem
  val ByteString: akka.util.ByteString.type = akka.util.ByteString
  val Levels: akka.event.Logging.type = akka.event.Logging
  val Source: akka.stream.scaladsl.Source.type = akka.stream.scaladsl.Source
}
