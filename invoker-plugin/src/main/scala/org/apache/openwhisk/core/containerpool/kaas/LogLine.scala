package org.apache.openwhisk.core.containerpool.kaas

import java.nio.charset.StandardCharsets.UTF_8
import java.time.format.DateTimeFormatter
import java.time.{Instant, OffsetDateTime, ZoneOffset}

import scala.util.Try

import spray.json._

/** A line that an activation logged, on `stdout` or `stderr`; its text has no line end. */
final case class LogLine(time: Instant, stream: String, text: String) {

  /** As Docker's JSON driver writes it, which is what OpenWhisk's log store reads. */
  def toDockerJson: JsObject =
    JsObject(
      "time" -> JsString(LogLine.Time.format(time.atOffset(ZoneOffset.UTC))),
      "stream" -> JsString(stream),
      "log" -> JsString(s"$text\n"))

  /** What it counts against the action's log limit. */
  def bytes: Int = text.getBytes(UTF_8).length + 1
}

object LogLine {

  /** Nine decimals: OpenWhisk pads the time to 30 characters, and its clients rely on the column. */
  private val Time = DateTimeFormatter.ofPattern("uuuu-MM-dd'T'HH:mm:ss.SSSSSSSSS'Z'")

  /** A line of this moment for each line of the text. */
  def now(stream: String, text: String): Seq[LogLine] = {
    val time = Instant.now
    text.split("\n", -1).toSeq.map(LogLine(time, stream, _))
  }

  /** None for what is no line of the pool's log. */
  def fromJson(line: JsValue): Option[LogLine] = line match {
    case JsObject(fields) =>
      def text(key: String): Option[String] = fields.get(key).collect { case JsString(value) => value }
      text("line").map { content =>
        val time = text("time").flatMap(value => Try(OffsetDateTime.parse(value).toInstant).toOption)
        LogLine(time.getOrElse(Instant.now), text("stream").filter(_ == "stderr").getOrElse("stdout"), content)
      }
    case _ => None
  }
}
