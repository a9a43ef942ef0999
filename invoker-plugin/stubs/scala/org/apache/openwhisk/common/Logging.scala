/* Signatures of OpenWhisk, written by hand; see stubs/README.md. */
package org.apache.openwhisk.common

import java.time.Instant

import org.apache.openwhisk.core.containerpool.kaas.ActorLibrary.{Levels, LogLevel}

protected case class TransactionMetadata(id: String,
                                         start: Instant,
                                         extraLogging: Boolean = false,
                                         parent: Option[TransactionMetadata] = None)

case class TransactionId private (meta: TransactionMetadata) extends AnyVal {
  def id: String = meta.id
}

object TransactionId {
  val unknown: TransactionId = TransactionId("sid_unknown")
  val invoker: TransactionId = TransactionId("sid_invoker")

  def apply(tid: String, extraLogging: Boolean = false): TransactionId =
    TransactionId(TransactionMetadata(tid, Instant.now, extraLogging))
}

trait Logging {
  def debug(from: AnyRef, message: => String)(implicit id: TransactionId = TransactionId.unknown): Unit =
    emit(Levels.DebugLevel, id, from, message)

  def info(from: AnyRef, message: => String)(implicit id: TransactionId = TransactionId.unknown): Unit =
    emit(Levels.InfoLevel, id, from, message)

  def warn(from: AnyRef, message: => String)(implicit id: TransactionId = TransactionId.unknown): Unit =
    emit(Levels.WarningLevel, id, from, message)

  def error(from: AnyRef, message: => String)(implicit id: TransactionId = TransactionId.unknown): Unit =
    emit(Levels.ErrorLevel, id, from, message)

  protected[common] def emit(loglevel: LogLevel, id: TransactionId, from: AnyRef, message: => String): Unit
}
