package org.apache.openwhisk.core.containerpool.kaas

import java.util.concurrent.ConcurrentHashMap

import scala.collection.JavaConverters._
import scala.concurrent.duration._
import scala.concurrent.{ExecutionContext, Future}

import spray.json._

/** An answer to `/init` or `/run`, and what goes to the activation's log. */
final case class Answer(status: Int, body: JsObject, logs: Seq[LogLine])

/**
 * The one kernel action of a container: not initialised, then initialised for ever; several threads may use it.
 * `memory` is the container's, in bytes, as OpenWhisk counts it.
 *
 * It answers as the action proxy does (docs/openwhisk-proxy.md). Its futures do not fail.
 */
final class KernelAction(kernels: Kernels, memory: Long) {
  private val container = new kernels.memory.Container(memory)
  private implicit val workers: ExecutionContext = kernels.workers

  /** None until an `/init` has succeeded. */
  @volatile private var bundle: Option[Bundle] = None

  /** Tenants of the activations under way, by id. */
  private val running = new ConcurrentHashMap[String, String]
  @volatile private var isDestroyed = false

  /** `/init`: a bundle that cannot be run is refused, if the pool says so in time. */
  def init(body: JsObject, timeout: FiniteDuration): Future[Answer] =
    Future {
      if (bundle.nonEmpty) throw Refusal(403, KernelAction.InitializedBefore)
      Bundle.fromBody(body)
    }.flatMap { loaded =>
        kernels.check(loaded, timeout, container).map { _ =>
          bundle = Some(loaded)
          Answer(200, JsObject("ok" -> JsTrue), Nil)
        }
      }
      .recover {
        case refusal: Refusal => KernelAction.refuse(refusal)
        case error =>
          val failure = KaasError.of(error)
          Answer(failure.initStatus, failure.toJson, KernelAction.errorLines(failure.line))
      }

  /** `/run`: the pool's result, or an error. */
  def run(body: JsObject, timeout: FiniteDuration): Future[Answer] = {
    val started = Deadline.now
    Future {
      val loaded = bundle.getOrElse(throw Refusal(500, KernelAction.NotInitialized))
      val activation = Activation.fromBody(body)
      running.put(activation.id, activation.tenant)
      kernels
        .run(loaded, activation, timeout, container, () => isDestroyed)
        .andThen { case _ => running.remove(activation.id) }
    }.flatten.recover {
      case refusal: Refusal => throw refusal
      case error            => Outcome(None, None, Some(KaasError.of(error)))
    }.map { outcome =>
      val summary = outcome.summary(body, Deadline.now - started)
      val logs = outcome.invocation.fold(Vector.empty[LogLine])(_.logs) ++
        LogLine.now("stdout", summary.compactPrint) ++
        outcome.failure.toSeq.flatMap(failure => KernelAction.errorLines(failure.line))
      outcome.failure match {
        case Some(failure) => Answer(failure.runStatus, failure.of(body).toJson, logs)
        case None          => Answer(200, outcome.invocation.flatMap(_.result).getOrElse(JsObject.empty), logs)
      }
    }.recover { case refusal: Refusal => KernelAction.refuse(refusal) }
  }

  /** Cancel what it still runs; what waits for its turn ends there. */
  def destroy(): Future[Unit] = {
    isDestroyed = true
    val underway = running.asScala.toSeq
    Future.traverse(underway) { case (activation, tenant) => kernels.pool.cancel(tenant, activation) }.map(_ => ())
  }
}

object KernelAction {

  /** OpenWhisk's own words. */
  val InitializedBefore = "Cannot initialize the action more than once."
  val NotInitialized = "no action defined yet"

  private def refuse(refusal: Refusal): Answer = Answer(refusal.status, refusal.toJson, errorLines(refusal.text))

  private def errorLines(text: String): Seq[LogLine] = LogLine.now("stderr", s"error: $text")
}
