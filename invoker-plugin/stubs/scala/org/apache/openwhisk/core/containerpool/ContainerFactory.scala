/* Signatures of OpenWhisk, written by hand; see stubs/README.md. */
package org.apache.openwhisk.core.containerpool

import scala.concurrent.Future

import org.apache.openwhisk.common.{Logging, TransactionId}
import org.apache.openwhisk.core.WhiskConfig
import org.apache.openwhisk.core.containerpool.kaas.ActorLibrary.ActorSystem
import org.apache.openwhisk.core.entity.{ByteSize, ExecManifest, ExecutableWhiskAction, InvokerInstanceId}
import org.apache.openwhisk.spi.Spi

trait ContainerFactory {
  def createContainer(
    tid: TransactionId,
    name: String,
    actionImage: ExecManifest.ImageName,
    userProvidedImage: Boolean,
    memory: ByteSize,
    cpuShares: Int,
    cpuLimit: Option[Double],
    action: Option[ExecutableWhiskAction])(implicit config: WhiskConfig, logging: Logging): Future[Container] =
    createContainer(tid, name, actionImage, userProvidedImage, memory, cpuShares, cpuLimit)

  def createContainer(tid: TransactionId,
                      name: String,
                      actionImage: ExecManifest.ImageName,
                      userProvidedImage: Boolean,
                      memory: ByteSize,
                      cpuShares: Int,
                      cpuLimit: Option[Double])(implicit config: WhiskConfig, logging: Logging): Future[Container]

  def init(): Unit

  def cleanup(): Unit
}

trait ContainerFactoryProvider extends Spi {
  def instance(actorSystem: ActorSystem,
               logging: Logging,
               config: WhiskConfig,
               instance: InvokerInstanceId,
               parameters: Map[String, Set[String]]): ContainerFactory
}
