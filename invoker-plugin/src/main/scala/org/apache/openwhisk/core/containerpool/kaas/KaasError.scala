package org.apache.openwhisk.core.containerpool.kaas

import java.nio.charset.StandardCharsets.UTF_8

import spray.json._

/** An error of KaaS's table (docs/contracts.md, "Errors"): what is wrong, where, and what to do. */
final case class KaasError(code: String,
                           message: String,
                           hint: Option[String] = None,
                           where: Option[String] = None,
                           retryAfterMs: Option[Long] = None,
                           activation: Option[String] = None)
    extends Exception(message, null, false, false) {

  /** What `/init` answers with this error. */
  def initStatus: Int = row.init.orElse(row.pool).getOrElse(500)

  /** What `/run` answers with this error: 200 for what OpenWhisk shall call an application error. */
  def runStatus: Int = row.run.getOrElse(502)

  /** Whether the bundle has to change. */
  def isAuthors: Boolean = row.blame == "author"

  /** `{"error": {...}}`; absent fields are left out. */
  def toJson: JsObject = {
    val texts = Seq("code" -> Some(code), "message" -> Some(message), "hint" -> hint, "where" -> where)
    val fields = texts.collect { case (key, Some(text)) => key -> JsString(text) } ++
      retryAfterMs.map("retry_after_ms" -> JsNumber(_)) ++
      activation.map("activation" -> JsString(_))
    JsObject("error" -> JsObject(fields: _*))
  }

  /** The same, of the activation that a body of `/run` names: a sequence passes on the error and not the name. */
  def of(body: JsObject): KaasError =
    copy(activation = activation.orElse(body.fields.get("activation_id").collect { case JsString(id) => id }))

  /** One line for a log. */
  def line: String = where.fold("")(place => s"$place: ") + message + hint.fold("")(advice => s" ($advice)")

  private def row: KaasError.Row = KaasError.table(code)
}

object KaasError {

  /** Rebuild an error that came from the pool; a code that this version does not know becomes `internal`. */
  def fromJson(error: JsObject): KaasError = {
    def text(key: String): Option[String] = error.fields.get(key).collect { case JsString(value) => value }
    val code = text("code").getOrElse("internal")
    val message = text("message").getOrElse("no message")
    val isKnown = table.contains(code)
    KaasError(
      if (isKnown) code else "internal",
      if (isKnown) message else s"$code: $message",
      text("hint"),
      text("where"),
      error.fields.get("retry_after_ms").collect { case JsNumber(value) => value.toLong },
      text("activation"))
  }

  /** What nobody foresaw is `internal`. */
  def of(error: Throwable): KaasError = error match {
    case known: KaasError => known
    case other =>
      val place = other.getStackTrace.headOption.fold("")(frame => s" at $frame")
      KaasError("internal", s"the invoker plugin failed: ${other.getClass.getSimpleName}: ${other.getMessage}$place")
  }

  /** For a malformed body of `/init` or `/run`. */
  def requestInvalid(message: String, where: Option[String]): KaasError =
    KaasError("request_invalid", message, where = where)

  private final case class Row(blame: String, pool: Option[Int], init: Option[Int], run: Option[Int])

  /** The table that the pool and the action proxy read. */
  private lazy val table: Map[String, Row] = {
    val stream = getClass.getResourceAsStream("error_table.json")
    val text =
      try new String(stream.readAllBytes(), UTF_8)
      finally stream.close()
    text.parseJson.asJsObject.fields.map {
      case (code, row) =>
        val fields = row.asJsObject.fields
        def status(key: String): Option[Int] = fields(key) match {
          case JsNumber(value) => Some(value.toInt)
          case _               => None
        }
        val blame = fields("blame") match {
          case JsString(value) => value
          case other           => throw new IllegalStateException(s"$code: blame is $other")
        }
        code -> Row(blame, status("pool"), status("init"), status("run"))
    }
  }
}
