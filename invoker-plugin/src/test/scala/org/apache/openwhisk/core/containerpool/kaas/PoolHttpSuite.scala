package org.apache.openwhisk.core.containerpool.kaas

import java.io.{IOException, OutputStream}
import java.net.{InetAddress, ServerSocket, Socket, URI}
import java.nio.charset.StandardCharsets.ISO_8859_1
import java.util.concurrent.{CountDownLatch, Executors, ScheduledThreadPoolExecutor}

import scala.concurrent.duration._
import scala.util.Try

/** Answers that no honest server gives. */
class PoolHttpSuite extends PluginSuite {
  private val workers = Executors.newCachedThreadPool()
  private val timer = new ScheduledThreadPoolExecutor(1)

  /** A server of one connection, which sends what the test says and then waits until the client leaves. */
  private final class OneAnswer(send: OutputStream => Unit) extends AutoCloseable {
    private val listener = new ServerSocket(0, 1, InetAddress.getLoopbackAddress)

    /** Open until the client has closed the connection. */
    val left = new CountDownLatch(1)
    private val thread = new Thread(() => Try(serve(listener.accept())))
    thread.start()

    val uri: URI = URI.create(s"http://127.0.0.1:${listener.getLocalPort}")

    private def serve(connection: Socket): Unit =
      try {
        connection.getInputStream.read(new Array[Byte](65536))
        send(connection.getOutputStream)
        while (connection.getInputStream.read() >= 0) ()
        left.countDown()
      } catch { case _: IOException => left.countDown() } finally connection.close()

    override def close(): Unit = {
      listener.close()
      thread.join()
    }
  }

  private def failure(server: OneAnswer, within: FiniteDuration): Throwable =
    try {
      val client = new PoolHttp(server.uri, None, workers, timer)
      val error = intercept[PoolHttp.Failure](await(client.send("GET", "/", Nil, None, within)))
      assert(server.left.await(patience.toMillis, MILLISECONDS), "the connection is still open")
      error
    } finally server.close()

  private def head(fields: String): Array[Byte] = s"HTTP/1.1 200 OK\r\n$fields\r\n\r\n".getBytes(ISO_8859_1)

  test("an answer without an end is left after 16 MiB") {
    val chunk = s"100000\r\n${" " * (1 << 20)}\r\n".getBytes(ISO_8859_1)
    val server = new OneAnswer(out => {
      out.write(head("Transfer-Encoding: chunked"))
      while (true) out.write(chunk)
    })
    assert(failure(server, patience) == PoolHttp.Endless)
  }

  test("the time is for the whole answer, and ends the connection with it") {
    val server = new OneAnswer(out => out.write(head("Content-Length: 10") ++ "12345".getBytes(ISO_8859_1)))
    assert(failure(server, 200.millis) == PoolHttp.Silent)
  }

  test("who sends no head in time is left too") {
    assert(failure(new OneAnswer(_ => ()), 200.millis) == PoolHttp.Silent)
  }

  test("an answer of the longest length is read whole") {
    val long = "x" * PoolHttp.MostBytes
    val pool = new ScriptedPool
    pool.script = _ => Answered(200, long)
    try {
      val client = new PoolHttp(URI.create(pool.url), None, workers, timer)
      val (status, body) = await(client.send("POST", "/", Nil, Some("{}".getBytes(ISO_8859_1)), patience))
      assert(status == 200 && new String(body, ISO_8859_1) == long)
    } finally pool.close()
  }

  override def afterAll(): Unit = {
    workers.shutdownNow()
    timer.shutdownNow()
    super.afterAll()
  }
}
