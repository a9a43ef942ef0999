package org.apache.openwhisk.core.containerpool.kaas

import java.util.UUID

import scala.concurrent.duration.{FiniteDuration, MILLISECONDS}

import spray.json._

/** One `/run`: the call and who makes it. */
final case class Activation(arguments: Map[String, JsValue], fields: Map[String, String]) {

  /** The namespace that invokes, which is the pool's tenant. */
  def tenant: String = fields("namespace")

  /** The idempotency key. */
  val id: String = fields.get("activation_id").filter(_.nonEmpty).getOrElse(UUID.randomUUID.toString)

  /** The time left, at most `timeout`. A deadline in the past is a clock that differs. */
  def timeLeft(timeout: FiniteDuration, nowMs: Long): FiniteDuration = {
    val deadline = fields.get("deadline").filter(_.matches("[0-9]{1,18}")).map(_.toLong)
    deadline
      .map(_ - nowMs)
      .filter(_ > 0)
      .map(left => FiniteDuration(left, MILLISECONDS).min(timeout))
      .getOrElse(timeout)
      .min(Activation.MaxBudget)
  }
}

object Activation {

  /** The pool's own bound on a budget. */
  val MaxBudget: FiniteDuration = FiniteDuration(3600000, MILLISECONDS)

  /** The body's texts: everything but the call itself. */
  def texts(body: JsObject): Map[String, String] =
    (body.fields - "value").collect { case (key, JsString(text)) => key -> text }

  /** Raises `argument_invalid` for the array that a sequence may pass on, `request_invalid` for a malformed body. */
  def fromBody(body: JsObject): Activation = {
    val arguments = body.fields.get("value") match {
      case None | Some(JsNull)    => Map.empty[String, JsValue]
      case Some(JsObject(fields)) => fields
      case Some(_: JsArray) =>
        throw KaasError(
          "argument_invalid",
          "the action got an array; a kernel action takes its buffers and parameters by name",
          where = Some("arguments"),
          hint = Some("in a sequence, let the action before return an object such as {'x': 's3://bucket/x.npy'}"))
      case Some(_) => throw KaasError.requestInvalid("value is not a JSON object", Some("value"))
    }
    val fields = texts(body)
    if (!fields.get("namespace").exists(_.nonEmpty))
      throw KaasError.requestInvalid("the activation does not say whose it is", Some("namespace"))
    Activation(arguments, fields)
  }

  /** The pool's answer has to come before the platform's own time-out: it ends an endless kernel 2 s after the budget. */
  def budget(left: FiniteDuration): FiniteDuration =
    FiniteDuration(left.toMillis - math.min(2500, math.round(left.toMillis * 0.1)), MILLISECONDS)

  /** When the plugin gives up on the pool, so that its own answer is in time. */
  def patience(left: FiniteDuration): FiniteDuration = budget(left).max(left - FiniteDuration(100, MILLISECONDS))
}
