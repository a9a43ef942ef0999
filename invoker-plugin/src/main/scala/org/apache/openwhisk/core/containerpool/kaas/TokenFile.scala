package org.apache.openwhisk.core.containerpool.kaas

import java.io.IOException
import java.nio.charset.StandardCharsets.UTF_8
import java.nio.file.attribute.BasicFileAttributes
import java.nio.file.{Files, Path}

/** A token in a file, read again when the file has changed: secrets that are mounted are renewed in place. */
final class TokenFile(path: Path) {
  @volatile private var last: Option[TokenFile.Content] = None

  /** The token. Raises `pool_unreachable` if there is none. */
  def token(): String =
    try {
      val attributes = Files.readAttributes(path, classOf[BasicFileAttributes])
      val version = (attributes.lastModifiedTime, attributes.size, attributes.fileKey)
      last.filter(_.version == version).getOrElse(read(version)).token
    } catch {
      case error: IOException => throw refusal(s"cannot be read: ${error.getClass.getSimpleName}")
    }

  private def read(version: AnyRef): TokenFile.Content = {
    val token = new String(Files.readAllBytes(path), UTF_8).trim
    if (!token.matches("[\\x21-\\x7e]+")) throw refusal("does not hold one token")
    val content = TokenFile.Content(version, token)
    last = Some(content)
    content
  }

  private def refusal(why: String) =
    KaasError(
      "pool_unreachable",
      s"the file $path, with the token by which the pool knows this invoker, $why",
      hint = Some("the platform's operator sets kaas.pool.token-file"))
}

object TokenFile {
  private final case class Content(version: AnyRef, token: String)
}
