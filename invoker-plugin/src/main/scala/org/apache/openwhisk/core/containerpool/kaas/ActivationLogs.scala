package org.apache.openwhisk.core.containerpool.kaas

import scala.collection.mutable

import org.apache.openwhisk.core.entity.ByteSize

/**
 * Log lines of activations that have ended, until OpenWhisk asks for them by transaction id.
 *
 * Activations that one trigger fires share an id; theirs are handed out in the order of their ends. Of an action whose
 * log limit is 0 OpenWhisk never asks, so that only the last ones are kept.
 */
final class ActivationLogs {
  private val kept = mutable.Queue.empty[(String, Seq[LogLine])]

  /** Keep an activation's log. */
  def keep(transaction: String, lines: Seq[LogLine]): Unit = synchronized {
    if (kept.size >= ActivationLogs.Most) kept.dequeue()
    kept.enqueue(transaction -> lines)
  }

  /** Hand out the eldest log under this id, cut at OpenWhisk's limit on an action's log. */
  def take(transaction: String, limit: ByteSize): Seq[LogLine] = {
    val lines = synchronized(kept.dequeueFirst(_._1 == transaction)).fold(Seq.empty[LogLine])(_._2)
    val sizes = lines.scanLeft(0L)(_ + _.bytes).tail
    val whole = sizes.takeWhile(_ <= limit.toBytes).size
    if (whole == lines.size) lines
    else lines.take(whole) ++ LogLine.now("stderr", ActivationLogs.truncated(limit))
  }

  /** Forget all. */
  def clear(): Unit = synchronized(kept.clear())
}

object ActivationLogs {

  /** More than a container's activations between their end and the collection of their logs. */
  private val Most = 256

  /** OpenWhisk's own words: its log store looks for them. */
  private def truncated(limit: ByteSize): String =
    s"Logs were truncated because the total bytes size exceeds the limit of ${limit.toBytes} bytes."
}
