package org.apache.openwhisk.core.containerpool.kaas

import java.nio.charset.StandardCharsets.UTF_8
import java.util.concurrent.{ConcurrentHashMap, ExecutorService, ScheduledExecutorService, TimeUnit}

import scala.collection.JavaConverters._
import scala.concurrent.duration._
import scala.concurrent.{ExecutionContext, Future, Promise}
import scala.util.{Failure, Try}

import spray.json._

/**
 * The pool's HTTP contract from the caller's side (docs/contracts.md), for any tenant, under the token that vouches.
 *
 * Every call may be repeated without harm (uploads go by digest, invocations by id), so a connection that is refused or
 * lost is tried again for a while before it becomes `pool_unreachable`. Futures fail with KaasError.
 */
final class PoolClient(config: PoolConfig, workers: ExecutorService, timer: ScheduledExecutorService) {
  import PoolClient._

  private implicit val ec: ExecutionContext = ExecutionContext.fromExecutorService(workers)
  private val http = config.url.map(new PoolHttp(_, config.caFile, workers, timer))
  private val token = new TokenFile(config.tokenFile)

  /** Names of the arguments that a bundle takes, of those that this client has uploaded. */
  private val uploaded = new Recent[(String, String), Set[String]](1000)

  /** Invocations that the pool is asked for, as tenant and id. */
  private val underway = ConcurrentHashMap.newKeySet[(String, String)]()
  @volatile private var isClosed = false

  /** Upload a bundle, unless this client has; the pool checks and compiles it. Returns the arguments' names. */
  def ensure(tenant: String, bundle: Bundle, within: FiniteDuration, patient: Boolean): Future[Set[String]] =
    uploaded.get((tenant, bundle.digest)).fold(put(tenant, bundle, within, patient))(Future.successful)

  /**
   * Have the pool run it and wait for its end; the bundle is uploaded if the pool does not know it. Once the call's
   * container is gone, or this client is closed, the pool is not asked (again), and the future fails with `cancelled`.
   */
  def invoke(tenant: String, bundle: Bundle, call: PoolCall, patience: FiniteDuration): Future[Invocation] = {
    val started = System.nanoTime
    def spent: FiniteDuration = (System.nanoTime - started).nanos
    def left: FiniteDuration = (patience - spent).max(Duration.Zero)
    post(tenant, bundle, call, left)
      .recoverWith {
        case KaasError("bundle_unknown", _, _, _, _, _) =>
          uploaded.remove((tenant, bundle.digest))
          put(tenant, bundle, left, patient = true).flatMap { _ =>
            val budget = call.budget - spent
            if (budget.toMillis > 0) post(tenant, bundle, call.copy(budget = budget), left)
            else Future.failed(late(call, "while the pool checked and compiled the bundle"))
          }
      }
      .recoverWith {
        case Unanswered(error) => Future.failed(if (spent < call.budget) error else late(call, "before the pool answered"))
      }
  }

  /** Cancel an invocation; never fails, and does not wait for long. */
  def cancel(tenant: String, id: String): Future[Unit] = cancel(tenant, id, CancelTimeout.fromNow)

  private def cancel(tenant: String, id: String, end: Deadline): Future[Unit] =
    json(tenant, "DELETE", s"/v1/invocations/$id", None, end.timeLeft.max(1.milli), patient = false).transformWith {
      // It may have overtaken the invocation, which comes over another connection.
      case Failure(KaasError("invocation_unknown", _, _, _, _, _))
          if underway.contains((tenant, id)) && FirstPause.fromNow < end =>
        after(FirstPause)(cancel(tenant, id, end))
      case _ => Future.unit
    }

  /** Begin nothing any more and cancel all that is under way, for an invoker that stops. */
  def close(): Future[Unit] = {
    isClosed = true
    Future.traverse(underway.asScala.toSeq) { case (tenant, id) => cancel(tenant, id) }.map(_ => ())
  }

  private def put(tenant: String, bundle: Bundle, within: FiniteDuration, patient: Boolean): Future[Set[String]] =
    json(tenant, "PUT", s"/v1/bundles/${bundle.digest}", Some(bundle.mediaType -> bundle.content), within, patient).map {
      answer =>
        val names = answer.fields.get("arguments") match {
          case Some(JsArray(items)) => items.collect { case JsString(name) => name }.toSet
          case _                    => throw unreachable("answered an upload without the bundle's arguments")
        }
        uploaded.put((tenant, bundle.digest), names)
        names
    }

  private def post(tenant: String, bundle: Bundle, call: PoolCall, within: FiniteDuration): Future[Invocation] = {
    val body = JsObject(
      "bundle" -> JsString(bundle.digest),
      "arguments" -> JsObject(call.arguments),
      "id" -> JsString(call.id),
      "budget_ms" -> JsNumber(call.budget.toMillis.max(1)),
      "wait_ms" -> JsNumber((call.budget + Grace).min(Activation.MaxBudget).toMillis))
    val content = "application/json" -> body.compactPrint.getBytes(UTF_8)
    def withdrawal = if (call.isGone()) Some(gone) else if (isClosed) Some(stopping) else None
    val key = (tenant, call.id)
    // Before `withdrawal` is asked: whoever withdraws the call later finds it here.
    underway.add(key)
    json(tenant, "POST", "/v1/invocations", Some(content), within, patient = true, () => withdrawal)
      .map { answer =>
        Invocation.fromJson(answer).getOrElse(throw unreachable("answered with something that is not an invocation"))
      }
      .andThen { case _ => underway.remove(key) }
  }

  private def json(tenant: String,
                   method: String,
                   path: String,
                   content: Option[(String, Array[Byte])],
                   within: FiniteDuration,
                   patient: Boolean,
                   withdrawal: () => Option[KaasError] = () => None): Future[JsObject] = Future {
    val server = http.getOrElse(
      throw KaasError(
        "pool_unreachable",
        "this invoker does not know where the pool is",
        hint = Some("the platform's operator sets kaas.pool.url")))
    val headers = Seq("Accept" -> "application/json", "KaaS-Tenant" -> tenant) ++
      content.map("Content-Type" -> _._1) :+ ("Authorization" -> s"Bearer ${token.token()}")
    val reconnect = if (patient) config.reconnect else Duration.Zero
    new Attempts(reconnect, within).send { left =>
      withdrawal().fold(server.send(method, path, headers, content.map(_._2), left))(Future.failed)
    }
  }.flatten.map { case (status, data) => decode(status, data) }

  private def decode(status: Int, data: Array[Byte]): JsObject =
    Try(new String(data, UTF_8).parseJson).toOption match {
      case Some(answer: JsObject) if status >= 200 && status < 300 => answer
      case Some(answer: JsObject) =>
        answer.fields.get("error") match {
          case Some(error: JsObject) => throw KaasError.fromJson(error)
          case _                     => throw unreachable(s"answered $status without saying why")
        }
      case _ => throw unreachable(s"answered $status with something that is not JSON")
    }

  private def unreachable(what: String) =
    KaasError(
      "pool_unreachable",
      s"the pool at ${config.url.mkString} $what",
      hint = Some("is the pool running, and is kaas.pool.url its address?"))

  /** One request, sent again while its connection is refused or lost. */
  private final class Attempts(reconnect: FiniteDuration, within: FiniteDuration) {
    private val end = within.fromNow

    def send(attempt: FiniteDuration => Future[(Int, Array[Byte])]): Future[(Int, Array[Byte])] =
      from(attempt, 0, FirstPause, None)

    private def from(attempt: FiniteDuration => Future[(Int, Array[Byte])],
                     lostBefore: Int,
                     pause: FiniteDuration,
                     outageEnd: Option[Deadline]): Future[(Int, Array[Byte])] =
      attempt(end.timeLeft.max(1.milli)).recoverWith {
        case PoolHttp.Silent =>
          Future.failed(Unanswered(unreachable(s"${PoolHttp.Silent.getMessage} (${within.toMillis} ms)")))
        case last @ (_: PoolHttp.Untrusted | PoolHttp.Endless) => Future.failed(unreachable(last.getMessage))
        case failure: PoolHttp.Failure =>
          val isLost = failure == PoolHttp.Lost
          val lost = if (isLost) lostBefore + 1 else lostBefore
          // It was there, so this is the start of an outage.
          val giveUp = outageEnd.filterNot(_ => isLost).getOrElse(reconnect.fromNow)
          val next = pause.fromNow
          if (next > giveUp || next > end || lost > MaxLost) Future.failed(unreachable(failure.getMessage))
          else after(pause)(from(attempt, lost, (pause * 2).min(LastPause), Some(giveUp)))
      }
  }

  private def after[A](pause: FiniteDuration)(next: => Future[A]): Future[A] = {
    val promise = Promise[A]
    val start: Runnable = () => promise.completeWith(Future(next).flatten)
    timer.schedule(start, pause.toMillis, TimeUnit.MILLISECONDS)
    promise.future
  }
}

/**
 * What the pool shall run: arguments by name, the activation's id, the time that it may take, and whether its container
 * has been removed, so that nobody wants it any more.
 */
final case class PoolCall(arguments: Map[String, JsValue], id: String, budget: FiniteDuration, isGone: () => Boolean)

object PoolClient {

  /** The pool has the request, and the caller's time is up. */
  private final case class Unanswered(error: KaasError) extends Exception(error.message, null, false, false)

  /** Beyond the budget: an endless kernel is killed 2 s after it, and the answer has to travel. */
  private val Grace = 5.seconds

  /** What becomes of an activation whose container has been removed. */
  def gone: KaasError = KaasError("cancelled", "the action's container was removed")

  private def stopping = KaasError("cancelled", "the invoker stops")

  private val CancelTimeout = 3.seconds
  private val FirstPause = 50.millis
  private val LastPause = 500.millis

  /** A request that takes the front down with it is not sent for ever. */
  private val MaxLost = 3

  private def late(call: PoolCall, when: String) =
    KaasError(
      "budget_exceeded",
      s"the budget of ${call.budget.toMillis} ms was spent $when",
      hint = Some("give the action more time (`-t`) or less work"))
}
