package org.apache.openwhisk.core.containerpool.kaas

import org.apache.openwhisk.common.Logging
import org.apache.openwhisk.core.WhiskConfig
import org.apache.openwhisk.core.containerpool.kaas.ActorLibrary.ActorSystem
import org.apache.openwhisk.core.containerpool.{ContainerFactory, ContainerFactoryProvider}
import org.apache.openwhisk.core.entity.InvokerInstanceId
import org.apache.openwhisk.spi.{SpiClassResolver, SpiLoader}

/** What `whisk.spi.ContainerFactoryProvider` names. */
object KaasContainerFactoryProvider extends ContainerFactoryProvider {
  override def instance(actorSystem: ActorSystem,
                        logging: Logging,
                        config: WhiskConfig,
                        instance: InvokerInstanceId,
                        parameters: Map[String, Set[String]]): ContainerFactory = {
    val kaas = KaasConfig.load(actorSystem.settings.config)
    val delegate = kaas.delegate.map { name => () =>
      SpiLoader
        .get[ContainerFactoryProvider](manifest[ContainerFactoryProvider], new Named(name))
        .instance(actorSystem, logging, config, instance, parameters)
    }
    new KaasContainerFactory(kaas, instance.userMemory, delegate)(actorSystem, logging)
  }

  private final class Named(name: String) extends SpiClassResolver {
    override def getClassNameForType[T: Manifest]: String = name
  }
}
