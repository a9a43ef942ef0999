package org.apache.openwhisk.core.containerpool.kaas

import java.nio.charset.StandardCharsets.UTF_8
import java.util.concurrent.{LinkedBlockingQueue, ScheduledThreadPoolExecutor, ThreadFactory}
import java.util.concurrent.{ThreadPoolExecutor, TimeUnit}

import scala.concurrent.duration._
import scala.concurrent.{ExecutionContext, Future}

import org.apache.openwhisk.core.containerpool.ContainerAddress
import spray.json._

/**
 * What all kernel actions of an invoker share: the pool, the back-pressure before it, and threads of their own.
 * `userMemory` is the invoker's, in bytes.
 */
final class Kernels(config: KaasConfig, userMemory: Long) {
  private val threads = Kernels.ending(
    new ThreadPoolExecutor(
      Kernels.Threads,
      Kernels.Threads,
      0,
      TimeUnit.SECONDS,
      new LinkedBlockingQueue[Runnable],
      Kernels.daemons("kaas-worker")))
  private val timer = Kernels.ending(new ScheduledThreadPoolExecutor(1, Kernels.daemons("kaas-timer")))
  timer.setRemoveOnCancelPolicy(true)

  /** Without other actions all memory is that of kernel actions. */
  val memory = new MemoryShare(
    if (config.delegate.isEmpty) userMemory else (userMemory * config.backPressure.memoryShare).toLong)
  private[kaas] val gate = new Gate(config.backPressure, timer)

  /** Where bodies are read and written. */
  implicit val workers: ExecutionContext = ExecutionContext.fromExecutorService(threads)

  val pool = new PoolClient(config.pool, threads, timer)

  /** The pool's. */
  val address: ContainerAddress = config.pool.url.fold(ContainerAddress("kaas.pool.url.is.not.set")) { url =>
    val port = if (url.getPort > 0) url.getPort else if (url.getScheme == "https") 443 else 80
    ContainerAddress(url.getHost, port)
  }

  /**
   * Let the pool say what is wrong with a bundle, while its author looks at `/init`.
   *
   * Fails for a broken bundle alone: a pool that is down, busy or slow, or memory that is spent, is not the author's
   * mistake, and the first `/run` uploads it anyway.
   */
  def check(bundle: Bundle, timeout: FiniteDuration, container: MemoryShare#Container): Future[Unit] = {
    val wait = config.initWait.min(Activation.patience(timeout))
    bundle.tenant.filter(_ => wait > Duration.Zero && container.enter()).fold(Future.unit) { tenant =>
      pool
        .ensure(tenant, bundle, wait, patient = false)
        .map(_ => ())
        .recover {
          case error: KaasError if error.isAuthors => throw error
          case _                                   => ()
        }
        .andThen { case _ => container.leave() }
    }
  }

  /**
   * Run it, within the time that its activation has left. `isGone` tells whether its container was destroyed. Fails with
   * `pool_busy` for who finds no memory, or no place in time.
   */
  def run(bundle: Bundle,
          activation: Activation,
          timeout: FiniteDuration,
          container: MemoryShare#Container,
          isGone: () => Boolean): Future[Outcome] =
    if (container.enter())
      admit(bundle, activation, timeout, isGone).andThen { case _ => container.leave() }
    else Future.failed(spentMemory)

  private def admit(bundle: Bundle,
                    activation: Activation,
                    timeout: FiniteDuration,
                    isGone: () => Boolean): Future[Outcome] = {
    val started = Deadline.now
    val atFirst = activation.timeLeft(timeout, System.currentTimeMillis)
    val tenant = activation.tenant
    gate.enter(Activation.patience(atFirst)).flatMap { _ =>
      val left = atFirst - (Deadline.now - started)
      val ended =
        if (isGone()) Future.failed(PoolClient.gone)
        else if (left <= Duration.Zero) Future.failed(Kernels.spent(atFirst))
        else send(tenant, bundle, activation, left, isGone)
      ended.andThen { case _ => gate.leave() }
    }
  }

  private def send(tenant: String,
                   bundle: Bundle,
                   activation: Activation,
                   left: FiniteDuration,
                   isGone: () => Boolean): Future[Outcome] = {
    val started = Deadline.now
    val patience = Activation.patience(left)
    arguments(tenant, bundle, activation, patience).flatMap { arguments =>
      val spent = Deadline.now - started
      val budget = Activation.budget(left) - spent
      if (budget <= Duration.Zero) throw Kernels.spent(left)
      val call = PoolCall(arguments, activation.id, budget, isGone)
      pool.invoke(tenant, bundle, call, patience - spent).transform { ended =>
        val outcome = ended.fold(
          { case error: KaasError => Outcome(Some(budget), None, Some(error)); case other => throw other },
          invocation => Outcome(Some(budget), Some(invocation), invocation.failure))
        // The pool counts too, but a platform's answer has been given: nobody waits for this any more.
        if (outcome.failure.exists(_.code == "budget_exceeded") && !outcome.invocation.exists(_.isFinal))
          pool.cancel(tenant, activation.id)
        scala.util.Success(outcome)
      }
    }
  }

  /** The call's arguments, over those bound with `init: true`, which OpenWhisk puts into an environment. */
  private def arguments(tenant: String,
                        bundle: Bundle,
                        activation: Activation,
                        within: FiniteDuration): Future[Map[String, JsValue]] = {
    val given = activation.arguments
    if (bundle.bound.isEmpty && fits(given)) Future.successful(given)
    else
      pool.ensure(tenant, bundle, within, patient = true).map { names =>
        val all = bundle.bound.filterKeys(names) ++ given
        // Sequences and triggers pass on whatever they have, up to 1 MB of it.
        if (fits(all)) all else all.filterKeys(name => names(name) || Kernels.CallKeys(name))
      }
  }

  private def spentMemory =
    KaasError(
      "pool_busy",
      s"the ${memory.most >> 20} MB of this invoker's memory that kernel activations may hold are taken",
      hint = Some("invoke again later; actions with a smaller memory limit (`-m`) leave room for more"),
      retryAfterMs = Some(config.backPressure.patience.toMillis.max(1)))

  private def fits(arguments: Map[String, JsValue]): Boolean =
    JsObject(arguments).compactPrint.getBytes(UTF_8).length + Kernels.FrameBytes <= Kernels.MaxRequestBytes
}

object Kernels {

  /** None of them ever blocks; several bodies of 48 MB may be read at a time. */
  private val Threads = 4
  private val IdleSeconds = 5L

  /** The pool's bound on a request, and what stands in it beside the arguments. */
  private val MaxRequestBytes = 1 << 20
  private val FrameBytes = 1024

  /** Keys of a call that are neither buffers nor parameters. */
  private val CallKeys = Set("ack", "freshness", "kaas", "outputs", "rename", "store")

  private def spent(time: FiniteDuration) =
    KaasError(
      "budget_exceeded",
      s"the ${time.toMillis} ms that were left were spent before the invocation began",
      hint = Some("give the action more time (`-t`)"))

  /**
   * Threads that end when they have had nothing to do for a while, so that none outlives the factory's `cleanup`, and
   * what is under way then is still answered.
   */
  private def ending[A <: ThreadPoolExecutor](threads: A): A = {
    threads.setKeepAliveTime(IdleSeconds, TimeUnit.SECONDS)
    threads.allowCoreThreadTimeOut(true)
    threads
  }

  private def daemons(name: String): ThreadFactory = task => {
    val thread = new Thread(task, name)
    thread.setDaemon(true)
    thread
  }
}
