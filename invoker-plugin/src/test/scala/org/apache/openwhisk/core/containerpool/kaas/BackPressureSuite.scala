package org.apache.openwhisk.core.containerpool.kaas

import java.util.concurrent.{ConcurrentHashMap, CountDownLatch}

import scala.concurrent.ExecutionContext.global
import scala.concurrent.Future
import scala.concurrent.duration._

import org.apache.openwhisk.core.containerpool.Interval
import org.apache.openwhisk.core.entity.ExecManifest.ImageName
import org.apache.openwhisk.core.entity.{ActivationResponse, ByteSize}
import spray.json._

/** A pool that is full: kernel activations are bounded, and CPU actions do not notice. */
class BackPressureSuite extends PluginSuite {

  /** A pool whose activations go on until the test lets each of them end. */
  private final class BusyPool extends AutoCloseable {
    private val holds = new ConcurrentHashMap[String, CountDownLatch]
    val pool = new ScriptedPool
    pool.script = request => {
      hold(request.json.fields("id").asInstanceOf[JsString].value).await()
      ScriptedPool.goWell(request)
    }

    def end(activation: String): Unit = hold(activation).countDown()
    private def hold(activation: String): CountDownLatch = holds.computeIfAbsent(activation, _ => new CountDownLatch(1))

    def running: Seq[String] = pool.invocations.map(_.json.fields("id").asInstanceOf[JsString].value)
    override def close(): Unit = pool.close()
  }

  private def withBusyPool(test: BusyPool => Unit): Unit = {
    val busy = new BusyPool
    try test(busy)
    finally busy.close()
  }

  private def limits(running: Int, waiting: Int, wait: String): Seq[(String, Any)] =
    Seq(
      "kaas.back-pressure.running" -> running,
      "kaas.back-pressure.waiting" -> waiting,
      "kaas.back-pressure.wait" -> wait)

  test("beyond the cap activations wait, in order; beyond that they are refused at once, as an application error") {
    withBusyPool { busy =>
      val container = ready(settings(busy.pool.url, limits(running = 1, waiting = 2, wait = "1h"): _*))
      val first = run(container, activation = "first")
      eventually(busy.running == Seq("first"))
      val second = run(container, activation = "second")
      // Entering is asynchronous: only so does the test know who came first.
      eventually(waiting(container) == 1)
      val third = run(container, activation = "third")
      eventually(waiting(container) == 2)

      val refused = await(run(container, activation = "fourth"))
      assert(code(refused) == 1)
      assert(errorOf(refused._2) == "pool_busy")
      val error = refused._2.result.get.asJsObject.fields("error").asJsObject.fields
      assert(error("retry_after_ms") == JsNumber(3600000))
      assert(busy.running == Seq("first"))

      busy.end("first")
      assert(code(await(first)) == 0)
      eventually(busy.running == Seq("first", "second"))
      busy.end("second")
      busy.end("third")
      assert(code(await(second)) == 0)
      assert(code(await(third)) == 0)
      assert(busy.running == Seq("first", "second", "third"))
    }
  }

  test("the wait is bounded, and a first run is no exception") {
    withBusyPool { busy =>
      val invoker = factory(settings(busy.pool.url, limits(running = 1, waiting = 1, wait = "50ms"): _*))
      val (one, other) = (create(invoker), create(invoker))
      await(initialize(one))
      val holder = run(one, activation = "holder")
      eventually(busy.running == Seq("holder"))
      await(initialize(other))
      val refused = await(run(other, activation = "refused"))
      assert((code(refused), errorOf(refused._2)) == ((1, "pool_busy")))
      busy.end("holder")
      assert(code(await(holder)) == 0)
      busy.end("after")
      assert(code(await(run(other, activation = "after"))) == 0, "the place was given back")
    }
  }

  test("an activation that ends badly gives its place back") {
    val pool = new ScriptedPool
    try {
      val container = ready(settings(pool.url, limits(running = 1, waiting = 0, wait = "0s"): _*))
      pool.script = _ => ScriptedPool.error(503, "pool_draining")
      (1 to 3).foreach(number => assert(code(await(run(container, activation = s"a$number"))) == 2))
      pool.script = _ => throw new IllegalStateException("the connection ends without an answer")
      assert(code(await(run(container, activation = "lost"))) == 2)
      pool.script = ScriptedPool.goWell
      assert(code(await(run(container, activation = "good"))) == 0)
    } finally pool.close()
  }

  test("who is destroyed while it waits never reaches the pool") {
    withBusyPool { busy =>
      val invoker = factory(settings(busy.pool.url, limits(running = 1, waiting = 1, wait = "1h"): _*))
      val (one, other) = (create(invoker), create(invoker))
      Seq(one, other).foreach(container => await(initialize(container)))
      val holder = run(one, activation = "holder")
      eventually(busy.running == Seq("holder"))
      val doomed = run(other, activation = "doomed")
      eventually(waiting(other) == 1)
      await(other.destroy())
      busy.end("holder")
      await(holder)
      assert(errorOf(await(doomed)._2) == "cancelled")
      assert(busy.running == Seq("holder"))
    }
  }

  test("CPU actions start and run while every place and every waiting place is taken") {
    withBusyPool { busy =>
      val more = limits(running = 32, waiting = 32, wait = "1h") :+ withDelegate
      val invoker = factory(settings(busy.pool.url, more: _*))
      val container = create(invoker)
      await(initialize(container))
      val names = (1 to 64).map(number => s"kernel$number")
      val kernels = names.map(name => run(container, activation = name))
      eventually(busy.running.size == 32 && waiting(container) == 32)

      // The actor system has one thread, which also starts and runs all of these.
      (1 to 100).foreach { number =>
        val cpu = create(invoker, ImageName("action-python-v3.11", prefix = Some("openwhisk")))
        await(initialize(cpu))
        assert(await(run(cpu, activation = s"cpu$number"))._2.result.contains("""{"cpu": true}""".parseJson))
      }
      assert(kernels.forall(!_.isCompleted))

      names.foreach(busy.end)
      assert(kernels.map(await(_)).map(code).forall(_ == 0))
      assert(busy.running.toSet == names.toSet)
    }
  }

  /** Two GiB as deploy-kube has it, and actions with the usual limit. */
  private final class Invoker(busy: BusyPool, more: (String, Any)*) {
    private val factory = BackPressureSuite.this.factory(settings(busy.pool.url, more: _*), megabytes(2048))
    private val memory = new CountedMemory(megabytes(2048))

    def start(activation: String, image: ImageName = kernelImage, limit: ByteSize = megabytes(256)): Future[Ended] =
      memory.start(limit) {
        val container = create(factory, image, memory = limit)
        initialize(container).flatMap(_ => run(container, activation = activation))(global)
      }
  }

  private type Ended = (Interval, ActivationResponse)
  private val withDelegate = "kaas.delegate" -> Recorder.getClass.getName.stripSuffix("$")

  private def cpuGoesOn(invoker: Invoker): Unit =
    (1 to 20)
      .map(number => invoker.start(s"cpu$number", ImageName("action-python-v3.11", prefix = Some("openwhisk"))))
      .foreach(cpu => assert(await(cpu)._2.result.contains("""{"cpu": true}""".parseJson)))

  test("CPU actions are not queued behind kernel actions where OpenWhisk counts memory, with the plugin's defaults") {
    withBusyPool { busy =>
      val invoker = new Invoker(busy, withDelegate)
      val names = (1 to 24).map(number => s"kernel$number")
      val kernels = names.map(invoker.start(_))
      cpuGoesOn(invoker)
      eventually(busy.running.nonEmpty && kernels.count(_.isCompleted) + busy.running.size == 24)
      val running = busy.running.size
      assert(running <= 4, "half of the memory")
      kernels.flatMap(_.value).foreach(ended => assert((code(ended.get), errorOf(ended.get._2)) == ((1, "pool_busy"))))
      names.foreach(busy.end)
      assert(kernels.map(await(_)).map(code).count(_ == 0) == running)
    }
  }

  test("nor behind containers whose bundle the pool is compiling") {
    withBusyPool { busy =>
      val hold = new CountDownLatch(1)
      busy.pool.upload = request => { hold.await(); ScriptedPool.uploaded(request) }
      val invoker = new Invoker(busy, withDelegate)
      val names = (1 to 24).map(number => s"kernel$number")
      val kernels = names.map(invoker.start(_))
      cpuGoesOn(invoker)
      assert(!kernels.forall(_.isCompleted))
      hold.countDown()
      names.foreach(busy.end)
      assert(kernels.map(await(_)).map(code).contains(0))
    }
  }

  test("without other actions all memory is that of kernel actions") {
    withBusyPool { busy =>
      val invoker = new Invoker(busy, "kaas.init-wait" -> "0s")
      val names = (1 to 8).map(number => s"kernel$number")
      val kernels = names.map(invoker.start(_))
      eventually(busy.running.size == 8)
      names.foreach(busy.end)
      assert(kernels.map(await(_)).map(code).forall(_ == 0))
    }
  }

  test("a container that is too large for the share has it alone") {
    withBusyPool { busy =>
      val invoker = new Invoker(busy, withDelegate)
      val large = invoker.start("large", limit = megabytes(1536))
      eventually(busy.running == Seq("large"))
      assert(errorOf(await(invoker.start("other"))._2) == "pool_busy")
      Seq("large", "after").foreach(busy.end)
      assert(code(await(large)) == 0)
      assert(code(await(invoker.start("after"))) == 0, "the memory was given back")
    }
  }

  test("a wait longer than the activation's own time ends before that") {
    withBusyPool { busy =>
      val container = ready(settings(busy.pool.url, limits(running = 1, waiting = 1, wait = "1h"): _*))
      val holder = run(container, activation = "holder")
      eventually(busy.running == Seq("holder"))
      val refused = await(run(container, activation = "short", timeout = 500.millis))
      assert((code(refused), errorOf(refused._2)) == ((1, "pool_busy")), "and not OpenWhisk's own time-out")
      busy.end("holder")
      await(holder)
    }
  }

  private def waiting(container: org.apache.openwhisk.core.containerpool.Container): Int =
    container.asInstanceOf[KaasContainer].kernels.gate.waits
}
