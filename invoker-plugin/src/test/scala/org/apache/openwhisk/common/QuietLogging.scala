package org.apache.openwhisk.common

import java.util.concurrent.ConcurrentLinkedQueue

import scala.collection.JavaConverters._

import org.apache.openwhisk.core.containerpool.kaas.ActorLibrary.LogLevel

/** Keeps what is logged; in OpenWhisk's package, because only there it can be told what to do with a message. */
final class QuietLogging extends Logging {
  private val messages = new ConcurrentLinkedQueue[String]

  override protected[common] def emit(loglevel: LogLevel, id: TransactionId, from: AnyRef, message: => String): Unit = {
    messages.add(message)
    ()
  }

  /** All messages so far. */
  def lines: Seq[String] = messages.asScala.toSeq
}
