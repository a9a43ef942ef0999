package org.apache.openwhisk.core.containerpool.kaas

import java.nio.charset.StandardCharsets.UTF_8
import java.security.MessageDigest
import java.util.Base64

import scala.util.Try

import spray.json._

/** A kernel action as `/init` brings it: the bundle's bytes, and what is bound to the action with `init: true`. */
final class Bundle(val content: Array[Byte], val environment: Map[String, String]) {

  /** By which the pool knows it. */
  val digest: String =
    "sha256:" + MessageDigest.getInstance("SHA-256").digest(content).map(byte => f"${byte & 0xff}%02x").mkString

  /** A zip, or a manifest's text with its sources inline. */
  def mediaType: String = if (content.startsWith("PK".getBytes(UTF_8))) "application/zip" else "application/yaml"

  /** The namespace that invokes: OpenWhisk initialises for an activation. */
  def tenant: Option[String] = environment.get("__OW_NAMESPACE").filter(_.nonEmpty)

  /** Parameters bound with `init: true`, which OpenWhisk has made texts; which of them the manifest knows is open. */
  def bound: Map[String, JsValue] = environment.collect {
    case (name, text) if !name.startsWith("__OW_") =>
      name -> Try(text.parseJson).getOrElse(JsString(text))
  }
}

object Bundle {

  /** OpenWhisk's own words. */
  val NoCode = "Missing main/no code to execute."

  /** Raises Refusal without code, and KaasError for a malformed body or what is no base64. */
  def fromBody(body: JsObject): Bundle = {
    val value = body.fields.get("value") match {
      case None | Some(JsNull)    => Map.empty[String, JsValue]
      case Some(JsObject(fields)) => fields
      case Some(_)                => throw KaasError.requestInvalid("value is not a JSON object", Some("value"))
    }
    val code = value.get("code") match {
      case None | Some(JsNull | JsString("")) => throw Refusal(403, NoCode)
      case Some(JsString(text))               => text
      case Some(_)                            => throw KaasError.requestInvalid("code is not a text", Some("value.code"))
    }
    val content = value.get("binary") match {
      case Some(JsBoolean(true))                   => decode(code)
      case None | Some(JsNull | JsBoolean(false)) => code.getBytes(UTF_8)
      case Some(_) =>
        throw KaasError.requestInvalid("binary is neither true nor false", Some("value.binary"))
    }
    val environment = value.get("env") match {
      case None | Some(JsNull) => Map.empty[String, String]
      case Some(JsObject(fields)) =>
        fields.map {
          case (name, JsString(text)) => name -> text
          case (name, other)          => name -> other.compactPrint
        }
      case Some(_) => throw KaasError.requestInvalid("env is not a JSON object", Some("value.env"))
    }
    new Bundle(content, environment)
  }

  private def decode(code: String): Array[Byte] =
    try Base64.getDecoder.decode(code)
    catch {
      case _: IllegalArgumentException =>
        throw KaasError(
          "bundle_invalid",
          "code says that it is binary, but is not base64",
          where = Some("value.code"),
          hint = Some("create the action from the .zip that `kaas build` writes, or from a plain kaas.yaml"))
    }
}
