/* Signatures of OpenWhisk, written by hand; see stubs/README.md. */
package org.apache.openwhisk.core.entity

protected[core] object ExecManifest {

  /** Not in OpenWhisk: there the manifest is read from the configuration. */
  private[core] var stubManifest: Option[Runtimes] = None

  protected[core] def runtimesManifest: Runtimes =
    stubManifest.getOrElse(throw new IllegalStateException("Runtimes manifest is not initialized."))

  protected[core] case class RuntimeManifest(kind: String,
                                             image: ImageName,
                                             deprecated: Option[Boolean] = None,
                                             default: Option[Boolean] = None)

  protected[core] case class ImageName(name: String,
                                       registry: Option[String] = None,
                                       prefix: Option[String] = None,
                                       tag: Option[String] = None) {

    /** No tag and `latest` are one. */
    override def equals(that: Any): Boolean = that match {
      case ImageName(n, r, p, t) =>
        (n, r, p, t.getOrElse("latest")) == ((name, registry, prefix, tag.getOrElse("latest")))
      case _ => false
    }

    override def hashCode: Int = (name, registry, prefix).hashCode
  }

  protected[core] class Runtimes(val manifests: Map[String, RuntimeManifest]) {
    def resolveDefaultRuntime(kind: String): Option[RuntimeManifest] = manifests.get(kind)
  }
}
