package org.apache.openwhisk.core.containerpool.kaas

import spray.json._

/** What the pool says of an invocation. */
final case class Invocation(state: String,
                            result: Option[JsObject],
                            error: Option[KaasError],
                            logs: Vector[LogLine]) {

  /** Why it is no success, if it is none. */
  def failure: Option[KaasError] = error.orElse {
    if (state == "done" && result.nonEmpty) None
    else if (isFinal) Some(KaasError("internal", s"the pool answered $state without a result or an error"))
    else
      Some(
        KaasError(
          "budget_exceeded",
          s"the invocation was still $state when its time was up",
          hint = Some("give the action more time (`-t`) or less work")))
  }

  /** Whether it has ended. */
  def isFinal: Boolean = Invocation.FinalStates(state)
}

object Invocation {
  private val FinalStates = Set("done", "failed", "cancelled")
  private val States = FinalStates ++ Set("accepted", "queued", "running")

  /** None if it is not an invocation. */
  def fromJson(answer: JsObject): Option[Invocation] =
    (answer.fields.get("id"), answer.fields.get("state")) match {
      case (Some(JsString(_)), Some(JsString(state))) if States(state) =>
        Some(
          Invocation(
            state,
            answer.fields.get("result").collect { case result: JsObject => result },
            answer.fields.get("error").collect { case error: JsObject => KaasError.fromJson(error) },
            answer.fields.get("logs").toVector.collect { case JsArray(lines) => lines }.flatten.flatMap(LogLine.fromJson)))
      case _ => None
    }
}
