package org.apache.openwhisk.core.containerpool.kaas

/** What the plugin uses of its line's actor library: OpenWhisk master since October 2025 has Pekko. */
object ActorLibrary {
  type ActorSystem = org.apache.pekko.actor.ActorSystem
  type ByteString = org.apache.pekko.util.ByteString
  type LogLevel = org.apache.pekko.event.Logging.LogLevel
  type Source[+Out, +Mat] = org.apache.pekko.stream.scaladsl.Source[Out, Mat]

  val ActorSystem: org.apache.pekko.actor.ActorSystem.type = org.apache.pekko.actor.ActorSystem
  val ByteString: org.apache.pekko.util.ByteString.type = org.apache.pekko.util.ByteString
  val Levels: org.apache.pekko.event.Logging.type = org.apache.pekko.event.Logging
  val Source: org.apache.pekko.stream.scaladsl.Source.type = org.apache.pekko.stream.scaladsl.Source
}
