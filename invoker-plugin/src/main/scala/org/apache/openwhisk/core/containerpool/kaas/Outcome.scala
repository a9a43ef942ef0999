package org.apache.openwhisk.core.containerpool.kaas

import scala.concurrent.duration.FiniteDuration

import spray.json._

/** An activation's end: an invocation that the pool has ended, or the error that came before. */
final case class Outcome(budget: Option[FiniteDuration], invocation: Option[Invocation], failure: Option[KaasError]) {

  /** What the log says of it in one line, as the action proxy has it; `run` is the body of `/run`. */
  def summary(run: JsObject, time: FiniteDuration): JsObject = {
    val stats = invocation.flatMap(_.result).map { result =>
      result.fields.get("kaas").collect { case JsObject(kaas) => kaas.getOrElse("stats", JsNull) }.getOrElse(JsNull)
    }
    val fields = Seq("activation" -> Outcome.description(run)) ++
      budget.map(time => "budget_ms" -> JsNumber(time.toMillis)) ++
      stats.map("stats" -> _) ++
      failure.map(error => "error" -> JsString(error.code)) :+
      ("ms" -> JsNumber(BigDecimal(time.toMicros) / 1000))
    JsObject("kaas" -> JsObject(fields: _*))
  }
}

object Outcome {

  /** What OpenWhisk says of an activation, but for the API key. */
  private def description(run: JsObject): JsObject =
    JsObject((Activation.texts(run) - "api_key").map { case (key, text) => key -> JsString(text) })
}
