package org.apache.openwhisk.core.containerpool.kaas

import java.util.concurrent.CountDownLatch

import scala.collection.JavaConverters._
import scala.concurrent.{ExecutionContext, Future}

import org.apache.openwhisk.common.{Logging, TransactionId}
import org.apache.openwhisk.core.WhiskConfig
import org.apache.openwhisk.core.containerpool._
import org.apache.openwhisk.core.containerpool.kaas.ActorLibrary.{ActorSystem, ByteString, Source}
import org.apache.openwhisk.core.entity.ExecManifest.ImageName
import org.apache.openwhisk.core.entity._
import spray.json.JsObject

/** Which containers are the plugin's, and what becomes of the others. */
class KaasContainerFactorySuite extends PluginSuite {
  private val delegated = Map("kaas.delegate" -> Recorder.getClass.getName.stripSuffix("$"))
  private val python = ImageName("action-python-v3.11", prefix = Some("openwhisk"), tag = Some("1.18.0"))

  private def withDelegate() = factory(settings("http://127.0.0.1:9", delegated.toSeq: _*))

  test("the kind's image is the plugin's, every other image the delegate's") {
    val invoker = withDelegate()
    assert(create(invoker).isInstanceOf[KaasContainer])
    assert(create(invoker, python).isInstanceOf[CpuContainer])
    assert(create(invoker, kernelImage.copy(tag = Some("2"))).isInstanceOf[CpuContainer])
    assert(create(invoker, kernelImage.copy(registry = Some("registry"))).isInstanceOf[CpuContainer])
  }

  test("a user who names the same image gets a container of it") {
    assert(create(withDelegate(), isUsers = true).isInstanceOf[CpuContainer])
  }

  test("both ways to create a container lead to the same") {
    val invoker = withDelegate()
    def create(image: ImageName): Container =
      await(
        invoker.createContainer(transid, "wsk0_1", image, false, ByteSize(128, SizeUnits.MB), 1, None)(
          new WhiskConfig,
          logging))
    assert(create(kernelImage).isInstanceOf[KaasContainer])
    assert(create(python).isInstanceOf[CpuContainer])
  }

  test("the delegate gets the action where OpenWhisk says it") {
    val invoker = withDelegate()
    val action = Some(new ExecutableWhiskAction)
    await(
      invoker.createContainer(transid, "n", python, false, ByteSize(128, SizeUnits.MB), 7, Some(0.5), action)(
        new WhiskConfig,
        logging))
    assert(Recorder.last.action == action)
  }

  test("the delegate is made when it is needed, once, and told of start and end") {
    val before = Recorder.made
    val invoker = withDelegate()
    create(invoker)
    assert(Recorder.made == before, "a kernel action needs no delegate")
    invoker.init()
    create(invoker, python)
    invoker.cleanup()
    assert(Recorder.made == before + 1)
    assert((Recorder.last.inits, Recorder.last.cleanups) == ((1, 1)))
  }

  test("after cleanup what runs is still answered, nothing begins, and the threads end") {
    val pool = new ScriptedPool
    val before = pluginThreads
    val invoker = factory(settings(pool.url))
    val container = create(invoker)
    await(initialize(container))
    val (started, hold) = (new CountDownLatch(1), new CountDownLatch(1))
    pool.script = request => { started.countDown(); hold.await(); ScriptedPool.goWell(request) }
    val ended = run(container)
    started.await()
    assert((pluginThreads -- before).nonEmpty)
    invoker.cleanup()
    hold.countDown()
    assert(code(await(ended)) == 0)
    eventually((pluginThreads -- before).isEmpty)
    assert(errorOf(await(run(container, activation = "late"))._2) == "cancelled")
    pool.close()
  }

  private def pluginThreads: Set[Thread] =
    Thread.getAllStackTraces.keySet.asScala.filter(_.getName.startsWith("kaas-")).toSet

  test("without a delegate other kinds are refused, and start and end are nothing") {
    val invoker = factory(settings("http://127.0.0.1:9"))
    invoker.init()
    val error = intercept[WhiskContainerStartupError](create(invoker, python))
    assert(error.msg.contains("kaas:1") && error.msg.contains("kaas.delegate"))
    assert(create(invoker).isInstanceOf[KaasContainer])
    invoker.cleanup()
  }

  test("a manifest without the kind is said at the start, and all containers are the delegate's") {
    val invoker = factory(settings("http://127.0.0.1:9", (delegated + ("kaas.kind" -> "kaas:9")).toSeq: _*))
    invoker.init()
    assert(logging.lines.exists(_.contains("no kind kaas:9")))
    assert(create(invoker).isInstanceOf[CpuContainer])
  }

  test("at the start the invoker's log has what memory is left to whom") {
    def logged(userMemory: Long, share: Double): String = {
      val before = logging.lines.size
      val more = delegated + ("kaas.back-pressure.memory-share" -> share)
      factory(settings("http://127.0.0.1:9", more.toSeq: _*), megabytes(userMemory)).init()
      logging.lines.drop(before).mkString
    }
    val usual = logged(2048, 0.5)
    assert(usual.contains("1024 MB of the 2048 MB") && !usual.contains("memory-share"))
    assert(logged(2048, 1).contains("CPU actions wait for kernel actions (kaas.back-pressure.memory-share)"))
    assert(logged(256, 0.5).contains("runs alone"))
  }

  test("a delegate that does not exist stops the invoker's start") {
    val invoker = factory(settings("http://127.0.0.1:9", "kaas.delegate" -> "no.such.Provider"))
    intercept[ClassNotFoundException](invoker.init())
  }
}

/** The factory that an invoker would have without the plugin. */
object Recorder extends ContainerFactoryProvider {
  @volatile var made = 0
  @volatile var last: RecordingFactory = _

  override def instance(actorSystem: ActorSystem,
                        logging: Logging,
                        config: WhiskConfig,
                        instance: InvokerInstanceId,
                        parameters: Map[String, Set[String]]): ContainerFactory = {
    made += 1
    last = new RecordingFactory(actorSystem, logging)
    last
  }
}

class RecordingFactory(system: ActorSystem, log: Logging) extends ContainerFactory {
  @volatile var action: Option[ExecutableWhiskAction] = None
  @volatile var inits = 0
  @volatile var cleanups = 0

  override def createContainer(
    tid: TransactionId,
    name: String,
    actionImage: ImageName,
    userProvidedImage: Boolean,
    memory: ByteSize,
    cpuShares: Int,
    cpuLimit: Option[Double],
    action: Option[ExecutableWhiskAction])(implicit config: WhiskConfig, logging: Logging): Future[Container] = {
    this.action = action
    createContainer(tid, name, actionImage, userProvidedImage, memory, cpuShares, cpuLimit)
  }

  override def createContainer(tid: TransactionId,
                               name: String,
                               actionImage: ImageName,
                               userProvidedImage: Boolean,
                               memory: ByteSize,
                               cpuShares: Int,
                               cpuLimit: Option[Double])(implicit config: WhiskConfig, logging: Logging): Future[Container] =
    Future.successful(new CpuContainer(name)(system, log))

  override def init(): Unit = inits += 1
  override def cleanup(): Unit = cleanups += 1
}

/** A CPU action that answers at once, on the actor system's own thread as OpenWhisk's containers do. */
class CpuContainer(name: String)(override implicit protected val as: ActorSystem,
                                 override protected implicit val logging: Logging)
    extends Container {
  override protected val id: ContainerId = ContainerId(name)
  override protected[core] val addr: ContainerAddress = ContainerAddress("127.0.0.1")
  override protected implicit val ec: ExecutionContext = as.dispatcher

  override def logs(limit: ByteSize, waitForSentinel: Boolean)(
    implicit transid: TransactionId): Source[ByteString, Any] =
    Source(List.empty[ByteString])

  override protected def callContainer(path: String,
                                       body: JsObject,
                                       timeout: scala.concurrent.duration.FiniteDuration,
                                       maxConcurrent: Int,
                                       maxResponse: ByteSize,
                                       truncation: ByteSize,
                                       retry: Boolean,
                                       reschedule: Boolean)(implicit transid: TransactionId): Future[RunResult] = Future {
    val now = java.time.Instant.now
    RunResult(Interval(now, now), Right(ActivationResponse.ContainerResponse(200, """{"cpu": true}""", None)))
  }
}
