package org.apache.openwhisk.core.containerpool.kaas

import java.net.URI
import java.net.http.HttpRequest.BodyPublishers
import java.net.http.HttpResponse.BodyHandlers
import java.net.http.{HttpClient, HttpRequest}
import java.nio.charset.StandardCharsets.UTF_8
import java.nio.file.{Files, Paths}
import java.security.MessageDigest

import spray.json._

/**
 * Invokes an action through the plugin and by a plain HTTP client, in turns (docs/numbers.md, P14).
 *
 * `benchmarks/invoker_plugin.py` starts the pool and this; with a parameter, it is no suite that ScalaTest would run.
 */
final class PluginBenchmark(url: String, token: String) extends PluginSuite {
  private val arguments = """{"x": [1, 2, 3], "a": 2, "z": "inline"}"""
  private val container = ready(settings(url, "kaas.pool.token-file" -> tokenFile(token).toString, "kaas.init-wait" -> "1m"))
  private val client = HttpClient.newBuilder.version(HttpClient.Version.HTTP_1_1).build()
  private val digest =
    MessageDigest.getInstance("SHA-256").digest(bundle.getBytes(UTF_8)).map(byte => f"$byte%02x").mkString("sha256:", "", "")

  /** Milliseconds of each call by the plugin, and of each plain one. */
  def pairs(name: String, count: Int): (Seq[Double], Seq[Double]) =
    (1 to count).map { number =>
      def byPlugin = milliseconds(callPlugin(s"$name-$number-plugin"))
      def byClient = milliseconds(callPlainly(s"$name-$number-plain"))
      if (number % 2 == 0) (byPlugin, byClient) else (byClient, byPlugin).swap
    }.unzip

  private def callPlugin(id: String): Unit = {
    val ended = await(run(container, arguments, id))
    assert(code(ended) == 0, ended._2.result)
  }

  /** The plugin's request, with nothing made of the answer but its bytes. */
  private def callPlainly(id: String): Unit = {
    val body = s"""{"bundle": "$digest", "arguments": $arguments, "id": "$id", "budget_ms": 57500, "wait_ms": 62500}"""
    val request = HttpRequest
      .newBuilder(URI.create(s"$url/v1/invocations"))
      .header("Authorization", s"Bearer $token")
      .header("KaaS-Tenant", "guest")
      .header("Content-Type", "application/json")
      .POST(BodyPublishers.ofString(body))
      .build()
    val answer = client.send(request, BodyHandlers.ofByteArray)
    assert(answer.statusCode == 200, new String(answer.body, UTF_8))
  }

  private def milliseconds(call: => Unit): Double = {
    val started = System.nanoTime
    call
    (System.nanoTime - started) / 1e6
  }
}

object PluginBenchmark {

  /** Repository, pool, file with the token, file for the result, warm-up calls, runs, calls per run. */
  def main(given: Array[String]): Unit = {
    // `scala:run` puts the compiler's options before them.
    val Array(repository, url, tokenFile, resultFile, warm, runs, count) = given.takeRight(7)
    sys.props("test.repository") = repository
    val token = new String(Files.readAllBytes(Paths.get(tokenFile)), UTF_8).trim
    val benchmark = new PluginBenchmark(url, token)
    benchmark.pairs("warm", warm.toInt)
    val measured = (1 to runs.toInt).map { number =>
      println(s"run $number of $runs")
      val (plugin, plain) = benchmark.pairs(number.toString, count.toInt)
      JsObject("plugin" -> numbers(plugin), "plain" -> numbers(plain))
    }
    Files.write(Paths.get(resultFile), JsArray(measured.toVector).compactPrint.getBytes(UTF_8))
    benchmark.afterAll()
  }

  private def numbers(values: Seq[Double]) = JsArray(values.map(JsNumber(_)).toVector)
}
