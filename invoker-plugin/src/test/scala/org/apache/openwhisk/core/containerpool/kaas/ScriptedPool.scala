package org.apache.openwhisk.core.containerpool.kaas

import java.net.{InetAddress, InetSocketAddress}
import java.nio.charset.StandardCharsets.UTF_8
import java.util.concurrent.{CopyOnWriteArrayList, ExecutorService, Executors}

import scala.collection.JavaConverters._

import com.sun.net.httpserver.{HttpExchange, HttpServer}
import spray.json._

/** One request as it came. */
final case class Request(method: String, path: String, headers: Map[String, String], body: Array[Byte]) {
  def json: JsObject = new String(body, UTF_8).parseJson.asJsObject
}

/** What a scripted pool does: a status and a body, or end the connection with no answer. */
sealed trait Reply
final case class Answered(status: Int, body: String) extends Reply
case object Closed extends Reply

/**
 * A pool that answers what a test tells it, for what no real pool can be made to do at will.
 *
 * Uploads are answered as a pool would, unless `upload` says otherwise; each request has a thread of its own.
 */
final class ScriptedPool extends AutoCloseable {
  @volatile var script: Request => Reply = ScriptedPool.goWell
  @volatile var upload: Request => Reply = ScriptedPool.uploaded
  @volatile var cancel: Request => Reply = request => ScriptedPool.ended(request.path.split('/').last, "cancelled")
  private val seen = new CopyOnWriteArrayList[Request]
  private val threads: ExecutorService = Executors.newCachedThreadPool()
  private val server = HttpServer.create(new InetSocketAddress(InetAddress.getLoopbackAddress, 0), 0)
  server.setExecutor(threads)
  server.createContext("/", exchange => handle(exchange))
  server.start()

  val url: String = s"http://127.0.0.1:${server.getAddress.getPort}"

  def requests: Seq[Request] = seen.asScala.toSeq
  def methods: Seq[String] = requests.map(_.method)
  def invocations: Seq[Request] = requests.filter(_.method == "POST")
  def forget(): Unit = seen.clear()

  override def close(): Unit = {
    server.stop(0)
    threads.shutdownNow()
    ()
  }

  private def handle(exchange: HttpExchange): Unit = {
    val headers = exchange.getRequestHeaders.asScala.map { case (key, values) => key.toLowerCase -> values.get(0) }
    val request = Request(
      exchange.getRequestMethod,
      exchange.getRequestURI.getPath,
      headers.toMap,
      exchange.getRequestBody.readAllBytes())
    seen.add(request)
    val reply = request.method match {
      case "PUT"    => upload(request)
      case "DELETE" => cancel(request)
      case _        => script(request)
    }
    reply match {
      case Answered(status, text) =>
        val bytes = text.getBytes(UTF_8)
        exchange.sendResponseHeaders(status, bytes.length.toLong)
        exchange.getResponseBody.write(bytes)
      case Closed => ()
    }
    exchange.close()
  }
}

object ScriptedPool {
  val result: JsObject =
    """{"z": "s3://out/z.npy", "kaas": {"outputs": {}, "stats": {"device": "0", "gpu_ms": 0.5}}}""".parseJson.asJsObject

  def goWell(request: Request): Reply = done(request, result)

  def done(request: Request, result: JsObject, logs: String = "[]"): Reply =
    Answered(200, s"""{"id": ${request.json.fields("id")}, "state": "done", "result": $result, "logs": $logs}""")

  def ended(id: String, state: String): Reply = Answered(
    200,
    s"""{"id": "$id", "state": "$state", "error": {"code": "$state", "message": "scripted $state"}, "logs": []}""")

  def error(status: Int, code: String): Reply =
    Answered(status, s"""{"error": {"code": "$code", "message": "scripted $code"}}""")

  def uploaded(request: Request): Reply = Answered(
    200,
    s"""{"digest": "${request.path.split('/').last}", "name": "copy", "kernels": ["copy"], "warnings": [],
       | "arguments": ["a", "x", "z"]}""".stripMargin)
}
