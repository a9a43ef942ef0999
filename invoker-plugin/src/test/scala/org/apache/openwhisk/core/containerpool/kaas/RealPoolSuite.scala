package org.apache.openwhisk.core.containerpool.kaas

import java.io.{BufferedReader, InputStreamReader}
import java.nio.charset.StandardCharsets.UTF_8

import scala.concurrent.duration._

import org.apache.openwhisk.core.containerpool.kaas.ActorLibrary.ActorSystem
import org.apache.openwhisk.core.containerpool.{Container, InitializationError}
import org.apache.openwhisk.core.entity.{ByteSize, SizeUnits}
import spray.json._

/**
 * The plugin and a real pool with the emulated device, which `tests/integration/pool_for_plugin.py` starts.
 *
 * Needs the interpreter of a set-up tree in KAAS_TEST_PYTHON (`make test-plugin` says it); without one it is cancelled.
 */
class RealPoolSuite extends PluginSuite {
  private val python = sys.props.get("test.python").filter(path => path.nonEmpty && !path.startsWith("$"))
  private lazy val process = new ProcessBuilder(python.get, "tests/integration/pool_for_plugin.py")
    .directory(root.toFile)
    .redirectError(ProcessBuilder.Redirect.INHERIT)
    .start()
  private lazy val access = {
    val line = new BufferedReader(new InputStreamReader(process.getInputStream, UTF_8)).readLine()
    assert(line != null, "the pool did not start")
    line.parseJson.asJsObject.fields.map { case (key, value) => key -> value.asInstanceOf[JsString].value }
  }
  private lazy val invoker = factory(
    settings(access("url"), "kaas.pool.token-file" -> tokenFile(access("token")).toString, "kaas.init-wait" -> "1m"))

  override def withFixture(test: NoArgTest): org.scalatest.Outcome = {
    assume(python.nonEmpty, "(set KAAS_TEST_PYTHON to the interpreter of a set-up tree)")
    super.withFixture(test)
  }

  private def started(code: String): Container = {
    val container = create(invoker)
    await(initialize(container, code))
    container
  }

  test("a kernel action, twice: the second needs no upload") {
    val container = started(bundle)
    Seq("1111", "2222").foreach { activation =>
      val ended = await(run(container, """{"x": [1, 2, 3], "a": 2, "z": "inline"}""", activation))
      assert(code(ended) == 0, ended._2.result)
      val result = ended._2.result.get.asJsObject.fields
      assert(result("z") == "[2.0, 4.0, 6.0]".parseJson)
      assert(result("kaas").asJsObject.fields("stats").asJsObject.fields.contains("gpu_ms"))
    }
  }

  test("the caller's mistakes are application errors, in the pool's words") {
    val ended = await(run(started(bundle), """{"a": 2, "z": "inline"}""", "3333"))
    assert((code(ended), errorOf(ended._2)) == ((1, "input_missing")))
    assert(ended._2.result.get.asJsObject.fields("error").asJsObject.fields("message").compactPrint.contains("x"))
  }

  test("a kernel that does not compile is the author's, at init") {
    val broken = bundle.replace("z[i] = a * x[i]", "z[i] = nonsense")
    val error = intercept[InitializationError](await(initialize(create(invoker), broken)))
    assert((error.response.statusCode, errorOf(error.response)) == ((2, "compile_error")))
  }

  test("parameters bound at init, and more than the pool takes in one request") {
    val container = create(invoker)
    await(initialize(container, env = Map("a" -> "3", "OTHER" -> "x")))
    val ended = await(run(container, s"""{"x": [1], "z": "inline", "more": "${"x" * 1048000}"}""", "4444"))
    assert(code(ended) == 0, ended._2.result)
    assert(ended._2.result.get.asJsObject.fields("z") == "[3.0]".parseJson)
  }

  test("what the pool notes about a call is in the log") {
    val container = started(bundle)
    await(run(container, """{"x": [1], "z": "inline", "unheard_of": 1}""", "5555"))
    implicit val system: ActorSystem = streams
    val lines = await(
      container.logs(ByteSize(1, SizeUnits.MB), waitForSentinel = true).runFold("")((all, one) => all + one.utf8String))
    assert(lines.contains("unheard_of"))
  }

  private val endless = """kaas: 1
    |name: endless
    |buffers:
    |  z: {io: out, dtype: float32, shape: [1]}
    |graph:
    |  - kernel: endless
    |    source: |
    |      extern "C" __global__ void endless(volatile float *z) { for (;;) z[0] = 0.0f; }
    |    threads: [1]
    |    block: [1]
    |    args: [z]
    |""".stripMargin

  test("an endless kernel ends with its budget, and the device serves on") {
    val ended = await(run(started(endless), """{"z": "inline"}""", "6666", timeout = 4.seconds))
    assert((code(ended), errorOf(ended._2)) == ((1, "budget_exceeded")), ended._2.result)
    assert(code(await(run(started(bundle), """{"x": [1], "z": "inline"}""", "7777"))) == 0)
  }

  test("destroy cancels what runs") {
    val container = started(endless)
    val ended = run(container, """{"z": "inline"}""", "8888")
    eventually(story.contains("8888"))
    await(container.destroy())
    assert((code(await(ended)), errorOf(await(ended)._2)) == ((1, "cancelled")))
  }

  /** What the pool says of the invocation while it runs. */
  private def story: String = {
    val client = java.net.http.HttpClient.newHttpClient
    val request = java.net.http.HttpRequest
      .newBuilder(java.net.URI.create(s"${access("url")}/v1/invocations/8888"))
      .header("Authorization", s"Bearer ${access("token")}")
      .header("KaaS-Tenant", "guest")
      .build()
    val answer = client.send(request, java.net.http.HttpResponse.BodyHandlers.ofString)
    if (answer.statusCode == 200) answer.body else ""
  }

  private lazy val streams = ActorSystem("logs", configuration(Map.empty[String, Any]))

  override def afterAll(): Unit = {
    if (python.nonEmpty) {
      process.getOutputStream.close()
      process.waitFor()
      await(streams.terminate())
    }
    super.afterAll()
  }
}
