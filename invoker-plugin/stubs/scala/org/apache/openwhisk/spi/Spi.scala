/* Signatures of OpenWhisk, written by hand; see stubs/README.md. */
package org.apache.openwhisk.spi

trait Spi

trait SpiClassResolver {
  def getClassNameForType[T: Manifest]: String
}

object SpiLoader {
  def get[A <: Spi: Manifest](implicit resolver: SpiClassResolver = TypesafeConfigClassResolver): A =
    Class
      .forName(resolver.getClassNameForType[A] + "$")
      .getField("MODULE$")
      .get(null)
      .asInstanceOf[A]
}

object TypesafeConfigClassResolver extends SpiClassResolver {
  override def getClassNameForType[T: Manifest]: String =
    throw new UnsupportedOperationException("the plugin names its delegate itself")
}
