package org.apache.openwhisk.core.containerpool.kaas

import java.nio.charset.StandardCharsets.UTF_8
import java.time.Instant

import scala.concurrent.duration.FiniteDuration
import scala.concurrent.{ExecutionContext, Future}

import org.apache.openwhisk.common.{Logging, TransactionId}
import org.apache.openwhisk.core.containerpool.kaas.ActorLibrary.{ActorSystem, ByteString, Source}
import org.apache.openwhisk.core.containerpool.{Container, ContainerAddress, ContainerId, Interval, RunResult}
import org.apache.openwhisk.core.entity.ActivationResponse.ContainerResponse
import org.apache.openwhisk.core.entity.{ByteSize, SizeUnits}
import spray.json.JsObject

/**
 * What OpenWhisk takes for the container of a kernel action: no process and no image, but the pool behind it.
 *
 * It never answers 503, which OpenWhisk would take for a container that dies. What is made of the answers, `Container`
 * does for all.
 */
final class KaasContainer(name: String, memory: ByteSize, private[kaas] val kernels: Kernels)(
  override implicit protected val as: ActorSystem,
  override protected implicit val logging: Logging)
    extends Container {
  override protected val id: ContainerId = ContainerId(name)

  /** The pool's: for OpenWhisk's logs, and its health check by a bare connect. */
  override protected[core] val addr: ContainerAddress = kernels.address

  override protected implicit val ec: ExecutionContext = as.dispatcher

  private val action = new KernelAction(kernels, memory.toBytes)
  private val activationLogs = new ActivationLogs

  override def suspend()(implicit transid: TransactionId): Future[Unit] = Future.unit

  override def resume()(implicit transid: TransactionId): Future[Unit] = Future.unit

  override def destroy()(implicit transid: TransactionId): Future[Unit] = {
    activationLogs.clear()
    action.destroy()
  }

  override def logs(limit: ByteSize, waitForSentinel: Boolean)(
    implicit transid: TransactionId): Source[ByteString, Any] =
    Source(activationLogs.take(transid.id, limit).map(line => ByteString(line.toDockerJson.compactPrint)).toList)

  override protected def callContainer(path: String,
                                       body: JsObject,
                                       timeout: FiniteDuration,
                                       maxConcurrent: Int,
                                       maxResponse: ByteSize,
                                       truncation: ByteSize,
                                       retry: Boolean = false,
                                       reschedule: Boolean = false)(
    implicit transid: TransactionId): Future[RunResult] = {
    val started = Instant.now
    val answer = if (path == "/init") action.init(body, timeout) else action.run(body, timeout)
    answer.map { ended =>
      if (ended.logs.nonEmpty) activationLogs.keep(transid.id, ended.logs)
      if (ended.status >= 500) logging.warn(this, s"$path of $name is answered ${ended.status}: ${ended.body}")
      RunResult(Interval(started, Instant.now), Right(KaasContainer.response(ended, maxResponse, truncation)))
    }(kernels.workers)
  }
}

object KaasContainer {
  private def response(answer: Answer, maxResponse: ByteSize, truncation: ByteSize): ContainerResponse = {
    val text = answer.body.compactPrint
    val bytes = text.getBytes(UTF_8)
    if (bytes.length <= maxResponse.toBytes) ContainerResponse(answer.status, text, None)
    else {
      val start = new String(bytes, 0, truncation.toBytes.min(bytes.length.toLong).toInt, UTF_8)
      ContainerResponse(answer.status, start, Some((ByteSize(bytes.length.toLong, SizeUnits.BYTE), maxResponse)))
    }
  }
}
