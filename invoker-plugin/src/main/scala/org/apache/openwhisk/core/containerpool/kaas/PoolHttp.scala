package org.apache.openwhisk.core.containerpool.kaas

import java.io.IOException
import java.net.http.HttpRequest.BodyPublishers
import java.net.http.{HttpClient, HttpConnectTimeoutException, HttpRequest, HttpResponse, HttpTimeoutException}
import java.net.{ConnectException, URI}
import java.nio.channels.UnresolvedAddressException
import java.nio.file.{Files, Path}
import java.security.KeyStore
import java.security.cert.CertificateFactory
import java.time.Duration
import java.util.concurrent.{CompletionException, ExecutorService, ScheduledExecutorService, TimeUnit}
import javax.net.ssl.{SSLContext, SSLException, TrustManagerFactory}

import scala.collection.JavaConverters._
import scala.concurrent.duration.FiniteDuration
import scala.concurrent.{Future, Promise}
import scala.util.Try

/** Requests to one HTTP server, over kept connections; nothing here blocks its caller. */
final class PoolHttp(base: URI, caFile: Option[Path], workers: ExecutorService, timer: ScheduledExecutorService) {
  import PoolHttp._

  private val prefix = base.toString.stripSuffix("/")
  private val client = {
    val builder = HttpClient.newBuilder
      .version(HttpClient.Version.HTTP_1_1)
      .followRedirects(HttpClient.Redirect.NEVER)
      .connectTimeout(ConnectTimeout)
      .executor(workers)
    caFile.foreach(file => builder.sslContext(trusting(file)))
    builder.build()
  }

  /** The answer's status and body (at most 16 MiB), all of it within the time, or one of the failures below. */
  def send(method: String,
           path: String,
           headers: Seq[(String, String)],
           body: Option[Array[Byte]],
           within: FiniteDuration): Future[(Int, Array[Byte])] = {
    val limit = Duration.ofMillis(within.toMillis.max(1))
    val request = HttpRequest
      .newBuilder(URI.create(prefix + path))
      .method(method, body.fold(BodyPublishers.noBody)(BodyPublishers.ofByteArray(_)))
      .timeout(limit)
    headers.foreach { case (name, value) => request.header(name, value) }

    val answer = Promise[(Int, Array[Byte])]
    val content = new BoundedBody(MostBytes, Endless)
    val exchange = client.sendAsync(request.build(), (_: HttpResponse.ResponseInfo) => content)
    // The client's own time-out ends with the answer's head.
    val giveUp: Runnable = () => if (answer.tryFailure(Silent)) content.abandon()
    val alarm = timer.schedule(giveUp, limit.toMillis, TimeUnit.MILLISECONDS)
    exchange.whenComplete { (response: HttpResponse[Array[Byte]], error: Throwable) =>
      alarm.cancel(false)
      if (error == null) answer.trySuccess((response.statusCode, response.body))
      else answer.tryFailure(failure(error))
      ()
    }
    answer.future
  }
}

object PoolHttp {

  /** No answer came; the message completes the sentence "the pool ...". */
  sealed abstract class Failure(message: String) extends Exception(message, null, false, false)

  /** There was no connection: the request was not sent. */
  final case class Unreached(why: String) extends Failure(s"cannot be reached: $why")

  /** The server is there and cannot be trusted; trying again is of no use. */
  final case class Untrusted(why: String) extends Failure(s"does not speak TLS as this invoker does: $why")

  /** The connection ended before the answer did: the request may have been taken. */
  case object Lost extends Failure("closed the connection without an answer")

  /** The request was sent, and the time for its answer is up. */
  case object Silent extends Failure("took the request and did not answer in time")

  /** The answer is longer than any that the pool gives; it would be again. */
  case object Endless extends Failure(s"sent an answer of more than ${MostBytes >> 20} MiB")

  /** The largest answers are an invocation's: inline outputs of 64 KiB each, and its log. */
  private[kaas] val MostBytes = 16 << 20

  private val ConnectTimeout = Duration.ofSeconds(3)

  private def failure(error: Throwable): Throwable = error match {
    case wrapped: CompletionException if wrapped.getCause != null => failure(wrapped.getCause)
    case known: Failure                                           => known
    case _: HttpConnectTimeoutException                           => Unreached("it takes no connection")
    case _: HttpTimeoutException                                  => Silent
    case unreached: ConnectException                              => Unreached(reason(unreached))
    case _: UnresolvedAddressException                            => Unreached("its name is not known")
    case untrusted: SSLException if !wasClosed(untrusted)         => Untrusted(reason(untrusted))
    case _: IOException                                           => Lost
    case other                                                    => other
  }

  /** A refused connection comes with no message, and the reason in its cause. */
  private def reason(error: Throwable): String =
    Iterator
      .iterate(error)(_.getCause)
      .takeWhile(_ != null)
      .flatMap(one => Option(one.getMessage))
      .find(_.nonEmpty)
      .getOrElse("the connection was refused")

  private def wasClosed(error: SSLException): Boolean =
    Iterator.iterate[Throwable](error)(_.getCause).takeWhile(_ != null).exists(_.isInstanceOf[java.io.EOFException])

  private def trusting(file: Path): SSLContext = {
    val stream = Files.newInputStream(file)
    val certificates =
      try CertificateFactory.getInstance("X.509").generateCertificates(stream).asScala
      finally Try(stream.close())
    require(certificates.nonEmpty, s"kaas.pool.ca-file: there is no certificate in $file")
    val store = KeyStore.getInstance(KeyStore.getDefaultType)
    store.load(null, null)
    certificates.zipWithIndex.foreach { case (one, index) => store.setCertificateEntry(s"authority-$index", one) }
    val trust = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm)
    trust.init(store)
    val context = SSLContext.getInstance("TLS")
    context.init(null, trust.getTrustManagers, null)
    context
  }
}
