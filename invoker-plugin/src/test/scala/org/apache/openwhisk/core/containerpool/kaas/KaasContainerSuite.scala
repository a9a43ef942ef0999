package org.apache.openwhisk.core.containerpool.kaas

import java.nio.charset.StandardCharsets.UTF_8
import java.nio.file.Files
import java.util.Base64
import java.util.concurrent.CountDownLatch
import java.util.concurrent.atomic.AtomicInteger

import scala.concurrent.duration._

import org.apache.openwhisk.common.TransactionId
import org.apache.openwhisk.core.containerpool.kaas.ActorLibrary.ActorSystem
import org.apache.openwhisk.core.containerpool.{Container, InitializationError}
import org.apache.openwhisk.core.entity.{ByteSize, SizeUnits}
import spray.json._

/** A container of the plugin in the hands of OpenWhisk, and a pool that answers what the test says. */
class KaasContainerSuite extends PluginSuite {
  private val pool = new ScriptedPool
  private lazy val usual = ready(settings(pool.url))

  override def beforeEach(): Unit = {
    super.beforeEach()
    usual
    pool.forget()
    pool.script = ScriptedPool.goWell
    pool.upload = ScriptedPool.uploaded
  }

  test("init and run") {
    val container = create(factory(settings(pool.url)))
    assert(pool.requests.isEmpty, "a container's start is nothing to the pool")
    await(initialize(container))
    assert(pool.methods == Seq("PUT"))
    val upload = pool.requests.head
    assert(new String(upload.body, UTF_8) == bundle)
    assert(upload.headers("content-type") == "application/yaml")
    pool.forget()

    val ended = await(run(container, """{"x": "s3://data/x.npy", "a": 2}""", "0123456789abcdef"))
    assert(code(ended) == 0)
    assert(ended._2.result.contains(ScriptedPool.result))
    val Seq(request) = pool.requests
    assert(request.headers("authorization") == "Bearer secret")
    assert(request.headers("kaas-tenant") == "guest")
    assert(upload.path.endsWith(request.json.fields("bundle").asInstanceOf[JsString].value))
    assert(request.json.fields("arguments") == """{"x": "s3://data/x.npy", "a": 2}""".parseJson)
    assert(request.json.fields("id") == JsString("0123456789abcdef"))
  }

  test("the bundle goes to the pool again when it has forgotten it") {
    var isKnown = false
    pool.upload = request => { isKnown = true; ScriptedPool.uploaded(request) }
    pool.script = request => if (isKnown) ScriptedPool.goWell(request) else ScriptedPool.error(404, "bundle_unknown")
    assert(code(await(run(usual))) == 0)
    assert(code(await(run(usual, activation = "a2"))) == 0)
    assert(pool.methods == Seq("POST", "PUT", "POST", "POST"))
  }

  test("the same bundle is uploaded once for all containers of a namespace") {
    val invoker = factory(settings(pool.url))
    Seq(create(invoker), create(invoker)).foreach(container => await(initialize(container)))
    assert(pool.methods == Seq("PUT"))
    await(initialize(create(invoker), env = Map("OTHER" -> "1")))
    assert(pool.methods == Seq("PUT"))
  }

  test("a zip") {
    val zip = "PK\u0003\u0004 and so on".getBytes(UTF_8)
    val container = create(factory(settings(pool.url)))
    val value = JsObject(
      "code" -> JsString(Base64.getEncoder.encodeToString(zip)),
      "binary" -> JsTrue,
      "env" -> JsObject("__OW_NAMESPACE" -> JsString("guest")))
    await(container.initialize(value, 60.seconds, 1))
    assert(pool.requests.head.headers("content-type") == "application/zip")
    assert(pool.requests.head.body.toSeq == zip.toSeq)
  }

  test("a broken bundle is explained at init") {
    pool.upload = _ => ScriptedPool.error(400, "compile_error")
    val container = create(factory(settings(pool.url)))
    val error = intercept[InitializationError](await(initialize(container)))
    assert(error.response.statusCode == 2)
    assert(errorOf(error.response) == "compile_error")
    assert(logsOf(container) == Seq("stderr" -> "error: scripted compile_error\n"))
    pool.upload = ScriptedPool.uploaded
    await(initialize(container))
    assert(code(await(run(container))) == 0, "a failed init may be followed by a good one")
  }

  test("what is not the author's mistake does not fail an init") {
    Seq(429 -> "pool_busy", 503 -> "pool_draining", 401 -> "unauthenticated", 500 -> "internal").foreach {
      case (status, error) =>
        pool.upload = _ => ScriptedPool.error(status, error)
        await(initialize(create(factory(settings(pool.url)))))
    }
  }

  test("a pool that is down does not fail an init, and is a developer error of the run, never a 503") {
    val gone = new ScriptedPool
    gone.close()
    val container = ready(settings(gone.url, "kaas.pool.reconnect" -> "100ms"))
    val ended = await(run(container))
    assert(code(ended) == 2)
    assert(errorOf(ended._2) == "pool_unreachable")
    assert(ended._2.result.get.compactPrint.contains(gone.url))
  }

  test("a pool that is slow does not fail an init") {
    val hold = new CountDownLatch(1)
    pool.upload = request => { hold.await(); ScriptedPool.uploaded(request) }
    try await(initialize(create(factory(settings(pool.url, "kaas.init-wait" -> "50ms")))))
    finally hold.countDown()
  }

  test("no check at init where the operator wants none") {
    await(initialize(create(factory(settings(pool.url, "kaas.init-wait" -> "0s")))))
    assert(pool.requests.isEmpty)
  }

  test("a second init is refused, a run before init too") {
    val container = create(factory(settings(pool.url)))
    val early = await(run(container))
    assert(code(early) == 2)
    assert(early._2.result.contains("""{"error": "no action defined yet"}""".parseJson))
    await(initialize(container))
    val again = intercept[InitializationError](await(initialize(container)))
    assert(again.response.result.contains("""{"error": "Cannot initialize the action more than once."}""".parseJson))
  }

  test("no address, no token: the operator is told what to set") {
    val lost = ready(settings(""))
    assert(await(run(lost))._2.result.get.compactPrint.contains("kaas.pool.url"))
    val unknown = ready(settings(pool.url, "kaas.pool.token-file" -> "/nowhere/token"))
    val ended = await(run(unknown))
    assert(code(ended) == 2)
    assert(ended._2.result.get.compactPrint.contains("kaas.pool.token-file"))
    assert(logging.lines.exists(_.contains("/nowhere/token")), "the invoker's log has it too")
  }

  test("a new token is used as soon as it is in the file") {
    val file = tokenFile("first")
    val container = ready(settings(pool.url, "kaas.pool.token-file" -> file.toString))
    await(run(container, activation = "a1"))
    Files.write(file, "a second one".replace(' ', '-').getBytes(UTF_8))
    await(run(container, activation = "a2"))
    assert(pool.invocations.map(_.headers("authorization")) == Seq("Bearer first", "Bearer a-second-one"))
  }

  test("the tenant is the invoking namespace, and the activation's key stays here") {
    await(run(usual, more = Map("namespace" -> "someone", "api_key" -> "user:password")))
    val Seq(request) = pool.requests
    assert(request.headers("kaas-tenant") == "someone")
    assert(!(request.headers.values.mkString + new String(request.body, UTF_8)).contains("password"))
    assert(!logsOf(usual).mkString.contains("password"))
  }

  test("a deadline becomes a budget; one in the past is a clock that differs") {
    def budget(timeout: FiniteDuration, more: (String, String)*): Long = {
      pool.forget()
      await(run(usual, timeout = timeout, more = more.toMap))
      pool.invocations.last.json.fields("budget_ms").asInstanceOf[JsNumber].value.toLong
    }
    assert(55000 to 57500 contains budget(60.seconds))
    assert(8000 to 9000 contains budget(10.seconds))
    assert(55000 to 57500 contains budget(60.seconds, "deadline" -> "123"))
    assert(8000 to 9000 contains budget(60.seconds, "deadline" -> (System.currentTimeMillis + 10000).toString))
    Seq("", "soon", "-5", "9" * 40).foreach(text => assert(55000 to 57500 contains budget(60.seconds, "deadline" -> text)))
    assert(budget(2.hours) <= 3597500)
  }

  test("parameters bound at init become arguments, if the manifest knows them") {
    val container = create(factory(settings(pool.url)))
    await(initialize(container, env = Map("a" -> "2.5", "x" -> "s3://data/x.npy", "z" -> "[1]", "OTHER" -> "xyz")))
    await(run(container, """{"z": "inline"}"""))
    val expected = """{"a": 2.5, "x": "s3://data/x.npy", "z": "inline"}""".parseJson
    assert(pool.invocations.last.json.fields("arguments") == expected)
  }

  test("a request over the pool's limit goes without what the action does not know") {
    val text = "x" * 1048561
    await(run(usual, s"""{"string": "$text", "a": 3, "outputs": "s3://out"}"""))
    assert(pool.invocations.last.json.fields("arguments") == """{"a": 3, "outputs": "s3://out"}""".parseJson)
    await(run(usual, s"""{"string": "${text.take(1000000)}", "a": 3}"""))
    assert(pool.invocations.last.json.fields("arguments").asJsObject.fields.keySet == Set("string", "a"))
  }

  test("a result over OpenWhisk's limit is cut as OpenWhisk cuts it") {
    val ended = await(run(usual, maxResponse = ByteSize(20, SizeUnits.BYTE)))
    assert(code(ended) == 1)
    assert(ended._2.result.get.compactPrint.contains(ScriptedPool.result.compactPrint.take(16).replace("\"", "\\\"")))
  }

  test("a silent pool spends the budget, and the invocation is cancelled") {
    val hold = new CountDownLatch(1)
    pool.script = request => { hold.await(); ScriptedPool.goWell(request) }
    try {
      val ended = await(run(usual, activation = "silent", timeout = 1.second))
      assert(code(ended) == 1)
      assert(errorOf(ended._2) == "budget_exceeded")
      eventually(pool.requests.exists(one => one.method == "DELETE" && one.path == "/v1/invocations/silent"))
    } finally hold.countDown()
  }

  test("an answer that is longer than any of a pool is not asked for again") {
    pool.script = _ => Answered(200, " " * (PoolHttp.MostBytes + 1))
    val ended = await(run(usual))
    assert((code(ended), errorOf(ended._2)) == ((2, "pool_unreachable")))
    assert(ended._2.result.get.compactPrint.contains("16 MiB"))
    assert(pool.methods == Seq("POST"))
  }

  test("what the pool goes on with after the wait is cancelled") {
    pool.script = request => Answered(202, s"""{"id": ${request.json.fields("id")}, "state": "running"}""")
    val ended = await(run(usual, activation = "late"))
    assert(errorOf(ended._2) == "budget_exceeded")
    eventually(pool.methods == Seq("POST", "DELETE"))
    assert(pool.requests.last.headers("kaas-tenant") == "guest")
  }

  test("destroy cancels what runs") {
    val container = ready(settings(pool.url))
    val (started, hold) = (new CountDownLatch(1), new CountDownLatch(1))
    pool.script = request => { started.countDown(); hold.await(); ScriptedPool.ended("doomed", "cancelled") }
    pool.cancel = request => { hold.countDown(); ScriptedPool.ended("doomed", "cancelled") }
    val ended = run(container, activation = "doomed")
    started.await()
    await(container.destroy())
    assert(code(await(ended)) == 1)
    assert(pool.requests.last.path == "/v1/invocations/doomed")
  }

  test("who is destroyed while its bundle is uploaded is not invoked after that") {
    val invoker = factory(settings(pool.url, "kaas.init-wait" -> "0s"))
    val container = create(invoker)
    await(initialize(container))
    val (uploading, hold) = (new CountDownLatch(1), new CountDownLatch(1))
    pool.script = _ => ScriptedPool.error(404, "bundle_unknown")
    pool.upload = request => { uploading.countDown(); hold.await(); ScriptedPool.uploaded(request) }
    pool.cancel = _ => ScriptedPool.error(404, "invocation_unknown")
    val ended = run(container)
    uploading.await()
    await(container.destroy())
    hold.countDown()
    assert(errorOf(await(ended)._2) == "cancelled")
    assert(pool.invocations.size == 1)
  }

  test("who is destroyed while its arguments wait for the bundle's upload is not invoked at all") {
    val container = create(factory(settings(pool.url, "kaas.init-wait" -> "0s")))
    await(initialize(container, env = Map("a" -> "2")))
    val (uploading, hold) = (new CountDownLatch(1), new CountDownLatch(1))
    pool.upload = request => { uploading.countDown(); hold.await(); ScriptedPool.uploaded(request) }
    val ended = run(container)
    uploading.await()
    await(container.destroy())
    hold.countDown()
    assert(errorOf(await(ended)._2) == "cancelled")
    assert(pool.invocations.isEmpty)
  }

  test("who is destroyed while a lost connection is tried again is not invoked again") {
    val container = ready(settings(pool.url))
    val (asked, hold) = (new CountDownLatch(1), new CountDownLatch(1))
    pool.script = _ => { asked.countDown(); hold.await(); Closed }
    pool.cancel = _ => Closed
    val ended = run(container)
    asked.await()
    await(container.destroy())
    hold.countDown()
    assert(errorOf(await(ended)._2) == "cancelled")
    assert(pool.invocations.size == 1)
  }

  test("an invoker that stops invokes nothing after that") {
    val invoker = factory(settings(pool.url, "kaas.init-wait" -> "0s"))
    val container = create(invoker)
    await(initialize(container))
    val (uploading, hold) = (new CountDownLatch(1), new CountDownLatch(1))
    pool.script = _ => ScriptedPool.error(404, "bundle_unknown")
    pool.upload = request => { uploading.countDown(); hold.await(); ScriptedPool.uploaded(request) }
    val ended = run(container)
    uploading.await()
    invoker.cleanup()
    hold.countDown()
    assert(errorOf(await(ended)._2) == "cancelled")
    assert(pool.invocations.size == 1)
  }

  test("a cancellation that overtakes its invocation is sent again") {
    val container = ready(settings(pool.url))
    val (started, hold) = (new CountDownLatch(1), new CountDownLatch(1))
    val cancellations = new AtomicInteger
    pool.script = _ => { started.countDown(); hold.await(); ScriptedPool.ended("doomed", "cancelled") }
    pool.cancel = _ =>
      if (cancellations.incrementAndGet() == 1) ScriptedPool.error(404, "invocation_unknown")
      else { hold.countDown(); ScriptedPool.ended("doomed", "cancelled") }
    val ended = run(container, activation = "doomed")
    started.await()
    await(container.destroy())
    assert(errorOf(await(ended)._2) == "cancelled")
    assert(cancellations.get == 2)
  }

  test("destroy and cleanup end although the pool is gone") {
    val gone = new ScriptedPool
    val invoker = factory(settings(gone.url, "kaas.pool.reconnect" -> "0s"))
    val container = create(invoker)
    await(initialize(container))
    val (started, hold) = (new CountDownLatch(1), new CountDownLatch(1))
    gone.script = _ => { started.countDown(); hold.await(); Closed }
    gone.cancel = _ => Closed
    val ended = run(container)
    started.await()
    await(container.destroy())
    invoker.cleanup()
    hold.countDown()
    gone.close()
    assert(errorOf(await(ended)._2) == "pool_unreachable")
  }

  test("suspend and resume leave it as it was") {
    await(usual.suspend())
    await(usual.resume())
    assert(code(await(run(usual))) == 0)
  }

  test("logs are what OpenWhisk's log store reads, by transaction, in order, once") {
    def line(time: String, stream: String, text: String): String =
      s"""{"time": "$time", "stream": "$stream", "line": "$text"}"""
    pool.script = request =>
      ScriptedPool.done(
        request,
        ScriptedPool.result,
        s"[${line("2026-01-01T00:00:00Z", "stdout", request.json.fields("id").asInstanceOf[JsString].value)}," +
          s"${line("2026-01-01T01:00:00.25+01:00", "stderr", "zwei ❄")}]")
    val (one, other) = (TransactionId("one"), TransactionId("other"))
    await(usual.run(JsObject.empty, fields("first"), 60.seconds, 1, limit, limit)(one))
    await(usual.run(JsObject.empty, fields("second"), 60.seconds, 1, limit, limit)(other))
    await(usual.run(JsObject.empty, fields("third"), 60.seconds, 1, limit, limit)(one))
    val first = documents(usual, limit)(one)
    assert(first.map(_("log")).take(2) == Seq("first\n", "zwei ❄\n"))
    assert(first.map(_("time")).take(2) == Seq("2026-01-01T00:00:00.000000000Z", "2026-01-01T00:00:00.250000000Z"))
    assert(first.map(_("stream")) == Seq("stdout", "stderr", "stdout"))
    assert(first.last("time").length == 30)
    assert(documents(usual, limit)(one).head("log") == "third\n")
    assert(documents(usual, limit)(other).head("log") == "second\n")
    assert(documents(usual, limit)(other).isEmpty)
  }

  test("the log's summary says what OpenWhisk and the pool said") {
    await(run(usual, activation = "summed"))
    val Seq(("stdout", text)) = logsOf(usual)
    val summary = text.parseJson.asJsObject.fields("kaas").asJsObject.fields
    assert(summary("activation").asJsObject.fields("activation_id") == JsString("summed"))
    assert(summary("activation").asJsObject.fields("action_name") == JsString("/guest/copy"))
    assert(summary("stats") == ScriptedPool.result.fields("kaas").asJsObject.fields("stats"))
    assert(summary.contains("budget_ms") && summary.contains("ms") && !summary.contains("error"))
  }

  test("a log over the action's limit is cut, and says so in OpenWhisk's words") {
    val lines = (1 to 100).map(_ => """{"time": "2026-01-01T00:00:00Z", "stream": "stdout", "line": "123456789"}""")
    pool.script = request => ScriptedPool.done(request, ScriptedPool.result, lines.mkString("[", ",", "]"))
    await(run(usual))
    val cut = documents(usual, ByteSize(505, SizeUnits.BYTE))
    assert(cut.size == 51)
    val words = "Logs were truncated because the total bytes size exceeds the limit of 505 bytes.\n"
    assert(cut.last("log") == words && cut.last("stream") == "stderr")
  }

  test("logs that nobody fetches are not kept for ever") {
    val logs = new ActivationLogs
    (1 to 10000).foreach(number => logs.keep(number.toString, LogLine.now("stdout", "x")))
    assert(logs.take("1", limit).isEmpty)
    assert(logs.take("10000", limit).nonEmpty)
  }

  private val limit = ByteSize(1, SizeUnits.MB)

  private def fields(activation: String): JsObject =
    JsObject("namespace" -> JsString("guest"), "activation_id" -> JsString(activation))

  private def documents(container: Container, most: ByteSize)(implicit id: TransactionId): Seq[Map[String, String]] = {
    implicit val system: ActorSystem = streams
    val lines = container.logs(most, waitForSentinel = true)(id).runFold(Vector.empty[String])(_ :+ _.utf8String)
    await(lines).map(_.parseJson.asJsObject.fields.map {
      case (key, JsString(value)) => key -> value
      case (key, other)           => key -> other.compactPrint
    })
  }

  private def logsOf(container: Container): Seq[(String, String)] =
    documents(container, limit).map(line => line("stream") -> line("log"))

  private lazy val streams = ActorSystem("logs", configuration(Map.empty[String, Any]))

  override def afterAll(): Unit = {
    pool.close()
    await(streams.terminate())
    super.afterAll()
  }
}
