package org.apache.openwhisk.core.containerpool.kaas

import java.net.{InetAddress, InetSocketAddress}
import java.nio.charset.StandardCharsets.UTF_8
import java.nio.file.{Files, Path, Paths}
import java.security.KeyStore
import java.util.Base64
import javax.net.ssl.{KeyManagerFactory, SSLContext}

import com.sun.net.httpserver.{HttpsConfigurator, HttpsServer}
import spray.json._

/** A pool with a certificate of an authority that only the operator knows. */
class TlsSuite extends PluginSuite {
  private val password = "changeit"
  private val directory: Path = Files.createTempDirectory("kaas-tls")
  private val keys = directory.resolve("keys.p12")
  private val authority = directory.resolve("authority.pem")
  private lazy val server = HttpsServer.create(new InetSocketAddress(InetAddress.getLoopbackAddress, 0), 0)
  private def url = s"https://localhost:${server.getAddress.getPort}"

  override def beforeAll(): Unit = {
    super.beforeAll()
    val keytool = Paths.get(sys.props("java.home"), "bin", "keytool").toString
    val command = Seq(keytool, "-genkeypair", "-alias", "pool", "-keyalg", "EC", "-dname", "CN=localhost") ++
      Seq("-ext", "san=dns:localhost", "-storetype", "PKCS12", "-keystore", keys.toString, "-storepass", password)
    assert(new ProcessBuilder(command: _*).redirectErrorStream(true).start().waitFor() == 0)
    val store = KeyStore.getInstance("PKCS12")
    val stream = Files.newInputStream(keys)
    try store.load(stream, password.toCharArray)
    finally stream.close()
    val body = Base64.getMimeEncoder.encodeToString(store.getCertificate("pool").getEncoded)
    Files.write(authority, s"-----BEGIN CERTIFICATE-----\n$body\n-----END CERTIFICATE-----\n".getBytes(UTF_8))

    val managers = KeyManagerFactory.getInstance(KeyManagerFactory.getDefaultAlgorithm)
    managers.init(store, password.toCharArray)
    val context = SSLContext.getInstance("TLS")
    context.init(managers.getKeyManagers, null, null)
    server.setHttpsConfigurator(new HttpsConfigurator(context))
    server.createContext(
      "/",
      exchange => {
        val body = new String(exchange.getRequestBody.readAllBytes(), UTF_8)
        val id = if (exchange.getRequestMethod == "POST") body.parseJson.asJsObject.fields("id") else JsString("")
        val answer = s"""{"id": $id, "state": "done", "result": {"tls": true}, "logs": []}""".getBytes(UTF_8)
        exchange.sendResponseHeaders(200, answer.length.toLong)
        exchange.getResponseBody.write(answer)
        exchange.close()
      })
    server.start()
  }

  test("with the authority's file the pool is trusted") {
    val ended = await(run(ready(settings(url, "kaas.pool.ca-file" -> authority.toString))))
    assert(ended._2.result.contains("""{"tls": true}""".parseJson))
  }

  test("without it the pool is not, which is not tried again, and the token is not sent") {
    val container = ready(settings(url, "kaas.pool.reconnect" -> "1h"))
    val ended = await(run(container))
    assert((code(ended), errorOf(ended._2)) == ((2, "pool_unreachable")))
    assert(ended._2.result.get.compactPrint.contains("TLS"))
  }

  test("a certificate for another name is not trusted either") {
    val other = url.replace("localhost", "127.0.0.1")
    val ended = await(run(ready(settings(other, "kaas.pool.ca-file" -> authority.toString))))
    assert(errorOf(ended._2) == "pool_unreachable")
  }

  test("a file that holds no certificate stops the invoker's start") {
    val empty = directory.resolve("empty.pem")
    Files.write(empty, Array.emptyByteArray)
    val error = intercept[IllegalArgumentException](factory(settings(url, "kaas.pool.ca-file" -> empty.toString)))
    assert(error.getMessage.contains("kaas.pool.ca-file"))
  }

  override def afterAll(): Unit = {
    server.stop(0)
    Seq("keys.p12", "authority.pem", "empty.pem").foreach(name => Files.deleteIfExists(directory.resolve(name)))
    Files.delete(directory)
    super.afterAll()
  }
}
