/* Signatures of OpenWhisk, written by hand; see stubs/README.md. */
package org.apache.openwhisk.core.entity

import scala.util.Try

import spray.json._

protected[core] case class ActivationResponse private (statusCode: Int,
                                                       result: Option[JsValue],
                                                       size: Option[Int] = None)

protected[core] object ActivationResponse {
  protected[core] sealed trait ContainerConnectionError
  protected[core] sealed trait ContainerHttpError extends ContainerConnectionError
  protected[core] case class ConnectionError(t: Throwable) extends ContainerHttpError

  protected[core] case class ContainerResponse(statusCode: Int,
                                               entity: String,
                                               truncated: Option[(ByteSize, ByteSize)]) {
    val okStatus: Boolean = statusCode == 200
    val ok: Boolean = okStatus && truncated.isEmpty
    val shuttingDown: Boolean = statusCode == 503
  }

  protected[core] object ContainerResponse {
    def apply(okStatus: Boolean, entity: String, truncated: Option[(ByteSize, ByteSize)] = None): ContainerResponse =
      ContainerResponse(if (okStatus) 200 else 500, entity, truncated)
  }

  protected[core] def developerError(errorMsg: String, size: Option[Int] = None): ActivationResponse =
    error(2, JsString(errorMsg))

  /** For the tests: an answer of a failed `/init` as OpenWhisk understands it. */
  private[core] def ofInit(response: Either[ContainerConnectionError, ContainerResponse]): ActivationResponse =
    response.fold(
      _ => developerError("The action did not initialize and exited unexpectedly."),
      answer =>
        error(
          2,
          errorOf(answer).getOrElse(JsString(s"The action failed during initialization: ${answer.entity}"))))

  /** For the tests: an answer of `/run` as OpenWhisk understands it. */
  private[core] def ofRun(response: Either[ContainerConnectionError, ContainerResponse]): ActivationResponse =
    response.fold(
      _ => developerError("The action did not produce a valid response and exited unexpectedly."),
      answer =>
        if (answer.truncated.nonEmpty) error(1, JsString(s"The action produced too long a response: ${answer.entity}"))
        else
          (answer.okStatus, errorOf(answer)) match {
            case (true, None)         => new ActivationResponse(0, Some(answer.entity.parseJson))
            case (true, Some(value))  => error(1, value)
            case (false, Some(value)) => error(2, value)
            case (false, None)        => developerError(s"The action did not produce a valid response: ${answer.entity}")
        })

  private def errorOf(answer: ContainerResponse): Option[JsValue] =
    Try(answer.entity.parseJson.asJsObject.fields.get("error")).toOption.flatten

  private def error(code: Int, value: JsValue) = new ActivationResponse(code, Some(JsObject("error" -> value)))
}
