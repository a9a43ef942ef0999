package org.apache.openwhisk.core.containerpool.kaas

import scala.concurrent.duration._
import scala.concurrent.{Await, Future}
import scala.util.Try

import org.apache.openwhisk.common.{Logging, TransactionId}
import org.apache.openwhisk.core.WhiskConfig
import org.apache.openwhisk.core.containerpool.kaas.ActorLibrary.ActorSystem
import org.apache.openwhisk.core.containerpool.{Container, ContainerFactory, WhiskContainerStartupError}
import org.apache.openwhisk.core.entity.{ByteSize, ExecManifest, ExecutableWhiskAction}

/**
 * Kernel actions go to the pool, everything else to the delegate.
 *
 * The image tells which is which: OpenWhisk does not always say for what action a container is. A user who names the
 * same image for a Docker action of their own gets a container of it, and not the pool.
 */
final class KaasContainerFactory(config: KaasConfig,
                                 userMemory: ByteSize,
                                 makeDelegate: Option[() => ContainerFactory])(as: ActorSystem, log: Logging)
    extends ContainerFactory {
  private lazy val delegate: Option[ContainerFactory] = makeDelegate.map(_())
  private val kernels = new Kernels(config, userMemory.toBytes)

  override def createContainer(
    tid: TransactionId,
    name: String,
    actionImage: ExecManifest.ImageName,
    userProvidedImage: Boolean,
    memory: ByteSize,
    cpuShares: Int,
    cpuLimit: Option[Double],
    action: Option[ExecutableWhiskAction])(implicit config: WhiskConfig, logging: Logging): Future[Container] =
    create(name, actionImage, userProvidedImage, memory) {
      _.createContainer(tid, name, actionImage, userProvidedImage, memory, cpuShares, cpuLimit, action)
    }

  override def createContainer(tid: TransactionId,
                               name: String,
                               actionImage: ExecManifest.ImageName,
                               userProvidedImage: Boolean,
                               memory: ByteSize,
                               cpuShares: Int,
                               cpuLimit: Option[Double])(implicit config: WhiskConfig, logging: Logging): Future[Container] =
    create(name, actionImage, userProvidedImage, memory) {
      _.createContainer(tid, name, actionImage, userProvidedImage, memory, cpuShares, cpuLimit)
    }

  override def init(): Unit = {
    if (kernelImage.isEmpty)
      log.warn(this, s"the runtimes manifest has no kind ${config.kind}: there will be no kernel actions")
    reportMemory()
    delegate.foreach(_.init())
  }

  private def reportMemory(): Unit = {
    val (share, all) = (kernels.memory.most, userMemory.toBytes)
    val sentence =
      s"kernel activations may hold ${share >> 20} MB of the ${all >> 20} MB of whisk.container-pool.user-memory"
    def warn(consequence: String): Unit = log.warn(this, s"$sentence: $consequence (kaas.back-pressure.memory-share)")
    if (share < KaasContainerFactory.UsualMemory)
      warn("an action with the usual limit of 256 MB runs alone, and whatever else comes is pool_busy")
    else if (config.delegate.nonEmpty && all - share < KaasContainerFactory.UsualMemory)
      warn("the rest is less than the usual 256 MB of one action, so that CPU actions wait for kernel actions")
    else log.info(this, sentence)
  }

  /** OpenWhisk calls this at its end alone: what runs at the pool is cancelled, and nothing is begun any more. */
  override def cleanup(): Unit = {
    Try(Await.ready(kernels.pool.close(), KaasContainerFactory.CleanupTimeout))
    delegate.foreach(_.cleanup())
  }

  private def create(name: String, image: ExecManifest.ImageName, isUsers: Boolean, memory: ByteSize)(
    other: ContainerFactory => Future[Container]): Future[Container] =
    if (!isUsers && kernelImage.contains(image)) Future.successful(new KaasContainer(name, memory, kernels)(as, log))
    else
      delegate.fold(Future.failed[Container](WhiskContainerStartupError(
        s"this invoker runs actions of the kind ${config.kind} only (kaas.delegate is none)")))(other)

  private def kernelImage: Option[ExecManifest.ImageName] =
    ExecManifest.runtimesManifest.resolveDefaultRuntime(config.kind).map(_.image)
}

object KaasContainerFactory {
  private val CleanupTimeout = 5.seconds

  /** The memory limit of an action that is created without one. */
  private val UsualMemory = 256L << 20
}
