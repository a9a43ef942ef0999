package org.apache.openwhisk.core.containerpool.kaas

import java.util.concurrent.{ScheduledExecutorService, TimeUnit}

import scala.collection.mutable
import scala.concurrent.duration.FiniteDuration
import scala.concurrent.{Future, Promise}

/**
 * Back-pressure: so many kernel activations at the pool, so many more that wait here, and not for long.
 *
 * Every activation holds its container's memory, for which CPU actions wait too. Nothing here blocks a thread.
 */
final class Gate(config: BackPressureConfig, timer: ScheduledExecutorService) {
  private val lock = new Object
  private var running = 0
  private val waiting = mutable.Queue.empty[Promise[Unit]]

  /**
   * A place, for which `leave` has to be called: now, or when one is free. Fails with `pool_busy` when too many wait,
   * or after the configured wait or `most`, whichever is less.
   */
  def enter(most: FiniteDuration): Future[Unit] = {
    val turn = Promise[Unit]
    val mustWait = lock.synchronized {
      if (running < config.running) {
        running += 1
        turn.success(())
        false
      } else if (waiting.size >= config.waiting) {
        turn.failure(busy(s"and ${config.waiting} more wait"))
        false
      } else {
        waiting.enqueue(turn)
        true
      }
    }
    if (mustWait) {
      val wait = most.min(config.patience)
      val giveUp: Runnable = () => if (forget(turn)) turn.failure(busy(s"and none ended within ${wait.toMillis} ms"))
      val alarm = timer.schedule(giveUp, wait.toMillis, TimeUnit.MILLISECONDS)
      turn.future.onComplete(_ => alarm.cancel(false))(Inline)
    }
    turn.future
  }

  /** Give a place back; it goes to who has waited longest. */
  def leave(): Unit = {
    val next = lock.synchronized {
      if (waiting.isEmpty) {
        running -= 1
        None
      } else Some(waiting.dequeue())
    }
    next.foreach(_.success(()))
  }

  /** How many wait for their turn. */
  def waits: Int = lock.synchronized(waiting.size)

  private def forget(turn: Promise[Unit]): Boolean = lock.synchronized(waiting.dequeueFirst(_ eq turn).nonEmpty)

  private def busy(detail: String) =
    KaasError(
      "pool_busy",
      s"${config.running} kernel activations of this invoker are at the pool, $detail",
      hint = Some("invoke again later"),
      retryAfterMs = Some(config.patience.toMillis.max(1)))
}
