/* Signatures of OpenWhisk, written by hand; see stubs/README.md. */
package org.apache.openwhisk.core.containerpool

import java.time.Instant

import scala.concurrent.duration.{Duration, FiniteDuration, MILLISECONDS}
import scala.concurrent.{ExecutionContext, Future}

import org.apache.openwhisk.common.{Logging, TransactionId}
import org.apache.openwhisk.core.containerpool.kaas.ActorLibrary.{ActorSystem, ByteString, Source}
import org.apache.openwhisk.core.entity.ActivationResponse.{ContainerConnectionError, ContainerHttpError, ContainerResponse}
import org.apache.openwhisk.core.entity.{ActivationResponse, ByteSize, SizeUnits, WhiskAction}
import spray.json.{JsObject, JsValue}

case class ContainerId(asString: String) {
  require(asString.nonEmpty, "ContainerId must not be empty")
}

case class ContainerAddress(host: String, port: Int = 8080) {
  require(host.nonEmpty, "ContainerIp must not be empty")
}

trait ContainerClient {
  def post(endpoint: String,
           body: JsValue,
           maxResponse: ByteSize,
           truncation: ByteSize,
           retry: Boolean,
           reschedule: Boolean)(implicit tid: TransactionId): Future[Either[ContainerHttpError, ContainerResponse]]
  def close(): Future[Unit]
}

trait Container {
  implicit protected val as: ActorSystem
  protected val id: ContainerId
  protected[core] val addr: ContainerAddress
  protected implicit val logging: Logging
  protected implicit val ec: ExecutionContext

  protected var httpConnection: Option[ContainerClient] = None
  protected var containerHttpMaxConcurrent: Int = 1
  protected var containerHttpTimeout: FiniteDuration = Duration(60000, MILLISECONDS)

  def containerId: ContainerId = id

  def suspend()(implicit transid: TransactionId): Future[Unit] = noHttp

  def resume()(implicit transid: TransactionId): Future[Unit] = noHttp

  def logs(limit: ByteSize, waitForSentinel: Boolean)(implicit transid: TransactionId): Source[ByteString, Any]

  def destroy()(implicit transid: TransactionId): Future[Unit] = noHttp

  def initialize(initializer: JsObject,
                 timeout: FiniteDuration,
                 maxConcurrent: Int,
                 entity: Option[WhiskAction] = None)(implicit transid: TransactionId): Future[Interval] = {
    val limit = ByteSize(1, SizeUnits.MB)
    callContainer("/init", JsObject("value" -> initializer), timeout, maxConcurrent, limit, limit, retry = true).map {
      result =>
        if (result.response.exists(_.shuttingDown)) throw ContainerHealthError(transid, id.asString)
        if (!result.ok) throw InitializationError(result.interval, ActivationResponse.ofInit(result.response))
        result.interval
    }
  }

  def run(parameters: JsValue,
          environment: JsObject,
          timeout: FiniteDuration,
          maxConcurrent: Int,
          maxResponse: ByteSize,
          truncation: ByteSize,
          reschedule: Boolean = false)(implicit transid: TransactionId): Future[(Interval, ActivationResponse)] = {
    val body = JsObject(environment.fields + ("value" -> parameters))
    callContainer("/run", body, timeout, maxConcurrent, maxResponse, truncation, reschedule = reschedule).map {
      result =>
        if (result.response.exists(_.shuttingDown)) throw ContainerHealthError(transid, id.asString)
        val late = result.interval.duration >= timeout
        val response =
          if (late) ActivationResponse.developerError(s"The action exceeded its time limits of $timeout.")
          else ActivationResponse.ofRun(result.response)
        (result.interval, response)
    }
  }

  protected def callContainer(path: String,
                              body: JsObject,
                              timeout: FiniteDuration,
                              maxConcurrent: Int,
                              maxResponse: ByteSize,
                              truncation: ByteSize,
                              retry: Boolean = false,
                              reschedule: Boolean = false)(implicit transid: TransactionId): Future[RunResult] =
    noHttp

  override def toString: String = id.toString

  private def noHttp: Nothing = throw new UnsupportedOperationException("the stub speaks to no container")
}

sealed abstract class ContainerError(msg: String) extends Exception(msg)

sealed abstract class ContainerStartupError(msg: String) extends ContainerError(msg)

case class WhiskContainerStartupError(msg: String) extends ContainerStartupError(msg)

case class InitializationError(interval: Interval, response: ActivationResponse) extends Exception(response.toString)

case class ContainerHealthError(tid: TransactionId, msg: String) extends Exception(msg)

case class Interval(start: Instant, end: Instant) {
  def duration: FiniteDuration = Duration(end.toEpochMilli - start.toEpochMilli, MILLISECONDS)
}

case class RunResult(interval: Interval, response: Either[ContainerConnectionError, ContainerResponse]) {
  def ok: Boolean = response.exists(_.ok)
}
