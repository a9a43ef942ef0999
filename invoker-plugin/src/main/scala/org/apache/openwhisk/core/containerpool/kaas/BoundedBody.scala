package org.apache.openwhisk.core.containerpool.kaas

import java.io.ByteArrayOutputStream
import java.net.http.HttpResponse.BodySubscriber
import java.nio.ByteBuffer
import java.util.concurrent.{CompletableFuture, CompletionStage, Flow}

import scala.collection.JavaConverters._

/**
 * The bytes of an answer, if there are at most so many; else its future fails with `tooMany`.
 *
 * Giving up, here or by `abandon`, cancels the subscription, which closes the connection: to cancel the client's future
 * does so only from Java 16 on.
 */
private[kaas] final class BoundedBody(most: Int, tooMany: Throwable) extends BodySubscriber[Array[Byte]] {
  private val whole = new CompletableFuture[Array[Byte]]
  private val bytes = new ByteArrayOutputStream
  private var subscription: Option[Flow.Subscription] = None
  private var isAbandoned = false

  override def getBody: CompletionStage[Array[Byte]] = whole

  override def onSubscribe(upstream: Flow.Subscription): Unit = {
    val isWanted = synchronized {
      subscription = Some(upstream)
      !isAbandoned
    }
    if (isWanted) upstream.request(Long.MaxValue) else upstream.cancel()
  }

  override def onNext(items: java.util.List[ByteBuffer]): Unit =
    if (!whole.isDone) {
      if (items.asScala.foldLeft(bytes.size.toLong)(_ + _.remaining) > most) {
        whole.completeExceptionally(tooMany)
        abandon()
      } else
        items.asScala.foreach { item =>
          val part = new Array[Byte](item.remaining)
          item.get(part)
          bytes.write(part, 0, part.length)
        }
    }

  override def onError(error: Throwable): Unit = { whole.completeExceptionally(error); () }

  override def onComplete(): Unit = { whole.complete(bytes.toByteArray); () }

  /** Read no more of it, whether it has begun or not. */
  def abandon(): Unit = {
    val upstream = synchronized {
      isAbandoned = true
      subscription
    }
    upstream.foreach(_.cancel())
  }
}
