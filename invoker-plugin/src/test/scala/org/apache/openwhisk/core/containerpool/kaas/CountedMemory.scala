package org.apache.openwhisk.core.containerpool.kaas

import scala.collection.mutable
import scala.concurrent.{Future, Promise}

import org.apache.openwhisk.core.entity.ByteSize

/**
 * Starts activations as the container pool of OpenWhisk's first generation does: each counts its memory until it has
 * ended, and once that is spent all others queue, whatever their kind. No container is kept.
 */
final class CountedMemory(all: ByteSize) {
  private var free = all.toBytes
  private val queue = mutable.Queue.empty[(Long, Promise[Unit])]

  /** Start an activation when its turn has come. */
  def start[A](memory: ByteSize)(activation: => Future[A]): Future[A] = {
    val turn = Promise[Unit]
    synchronized(queue.enqueue(memory.toBytes -> turn))
    admit()
    turn.future.flatMap { _ =>
      activation.andThen {
        case _ =>
          synchronized(free += memory.toBytes)
          admit()
      }(Inline)
    }(scala.concurrent.ExecutionContext.global)
  }

  private def admit(): Unit = {
    val admitted = synchronized {
      val fitting = mutable.ListBuffer.empty[Promise[Unit]]
      while (queue.headOption.exists(_._1 <= free)) {
        val (bytes, turn) = queue.dequeue()
        free -= bytes
        fitting += turn
      }
      fitting
    }
    admitted.foreach(_.success(()))
  }
}
