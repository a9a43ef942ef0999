package org.apache.openwhisk.core.containerpool.kaas

import java.nio.charset.StandardCharsets.UTF_8
import java.nio.file.{Files, Path, Paths}

import scala.collection.JavaConverters._
import scala.concurrent.duration._
import scala.concurrent.{Await, Awaitable}

import com.typesafe.config.{Config, ConfigFactory}
import org.apache.openwhisk.common.{QuietLogging, TransactionId}
import org.apache.openwhisk.core.WhiskConfig
import org.apache.openwhisk.core.containerpool.{Container, ContainerFactory, Interval}
import org.apache.openwhisk.core.containerpool.kaas.ActorLibrary.ActorSystem
import org.apache.openwhisk.core.entity.ExecManifest.{ImageName, RuntimeManifest, Runtimes}
import org.apache.openwhisk.core.entity._
import org.scalatest.funsuite.AnyFunSuite
import org.scalatest.{BeforeAndAfterAll, BeforeAndAfterEach}
import spray.json._

/** What every suite needs: an actor system whose one thread nobody may block, and the factory as an invoker makes it. */
trait PluginSuite extends AnyFunSuite with BeforeAndAfterAll with BeforeAndAfterEach {
  protected val patience: FiniteDuration = 60.seconds
  protected val logging = new QuietLogging
  private var transactions = 0

  /** The present test's transaction. */
  protected implicit def transid: TransactionId = TransactionId(s"tid_$transactions")

  override def beforeEach(): Unit = {
    super.beforeEach()
    transactions += 1
  }

  /** The repository. */
  protected val root: Path = Paths.get(sys.props("test.repository")).toAbsolutePath.normalize

  protected lazy val bundle: String = text(root.resolve("tests/contract-fixtures/bundle.yaml"))

  private val oneThread = ConfigFactory.parseString(
    Seq("akka", "pekko")
      .map { library =>
        s"""$library {
           |  daemonic = on
           |  loglevel = off
           |  stdout-loglevel = off
           |  actor.default-dispatcher.fork-join-executor { parallelism-min = 1, parallelism-max = 1 }
           |}""".stripMargin
      }
      .mkString("\n"))

  private var systems: List[ActorSystem] = Nil
  private var files: List[Path] = Nil

  protected val kernelImage: ImageName = ImageName("action-kaas-v1", prefix = Some("kaas"), tag = Some("1"))
  ExecManifest.stubManifest = Some(new Runtimes(Map("kaas:1" -> RuntimeManifest("kaas:1", kernelImage))))

  protected def text(path: Path): String = new String(Files.readAllBytes(path), UTF_8)

  protected def await[A](future: Awaitable[A]): A = Await.result(future, patience)

  /** Wait for a condition that nothing announces. */
  protected def eventually(condition: => Boolean): Unit = {
    val end = patience.fromNow
    while (!condition) {
      assert(end.hasTimeLeft, "it never came true")
      Thread.sleep(5)
    }
  }

  protected def tokenFile(token: String): Path = {
    val path = Files.createTempFile("kaas", "token")
    files ::= path
    Files.write(path, token.getBytes(UTF_8))
  }

  /** The plugin's settings for a pool. */
  protected def settings(url: String, more: (String, Any)*): Map[String, Any] =
    Map("kaas.delegate" -> "none", "kaas.pool.url" -> url, "kaas.pool.token-file" -> tokenFile("secret\n").toString) ++ more

  protected def configuration(values: Map[String, Any]): Config =
    ConfigFactory.parseMap(values.asJava).withFallback(oneThread).withFallback(ConfigFactory.load())

  protected def megabytes(number: Long): ByteSize = ByteSize(number, SizeUnits.MB)

  /** A factory as an invoker gets it: through the SPI. */
  protected def factory(values: Map[String, Any], userMemory: ByteSize = megabytes(1024)): ContainerFactory = {
    val system = ActorSystem("test", configuration(values))
    systems ::= system
    val instance = InvokerInstanceId(0, userMemory = userMemory)
    KaasContainerFactoryProvider.instance(system, logging, new WhiskConfig, instance, Map.empty)
  }

  protected def create(factory: ContainerFactory,
                       image: ImageName = kernelImage,
                       isUsers: Boolean = false,
                       memory: ByteSize = megabytes(128)): Container =
    await(
      factory.createContainer(transid, "wsk0_1_guest_copy", image, isUsers, memory, 1, None, None)(
        new WhiskConfig,
        logging))

  /** A container that is initialised with the fixtures' bundle. */
  protected def ready(values: Map[String, Any]): Container = {
    val container = create(factory(values))
    await(initialize(container))
    container
  }

  protected def initialize(container: Container, code: String = bundle, env: Map[String, String] = Map.empty) = {
    val environment = (env + ("__OW_NAMESPACE" -> "guest")).mapValues(JsString(_))
    val value = JsObject(
      "name" -> JsString("copy"),
      "main" -> JsString("main"),
      "binary" -> JsFalse,
      "code" -> JsString(code),
      "env" -> JsObject(environment.toMap))
    container.initialize(value, 60.seconds, 1)
  }

  /** Run with a time-out, and a deadline that agrees with it. */
  protected def run(container: Container,
                    arguments: String = "{}",
                    activation: String = "a1",
                    timeout: FiniteDuration = 60.seconds,
                    maxResponse: ByteSize = ByteSize(1, SizeUnits.MB),
                    more: Map[String, String] = Map.empty) = {
    val fields = Map(
      "namespace" -> "guest",
      "action_name" -> "/guest/copy",
      "action_version" -> "0.0.1",
      "activation_id" -> activation,
      "transaction_id" -> "tid",
      "deadline" -> (System.currentTimeMillis + timeout.toMillis).toString) ++ more
    container.run(
      arguments.parseJson,
      JsObject(fields.mapValues(JsString(_)).toMap),
      timeout,
      1,
      maxResponse,
      ByteSize(16, SizeUnits.BYTE))
  }

  /** OpenWhisk's status code of an activation: 0 success, 1 application error, 2 developer error. */
  protected def code(ended: (Interval, ActivationResponse)): Int = ended._2.statusCode

  /** The error's code in an activation's result. */
  protected def errorOf(response: ActivationResponse): String =
    response.result.get.asJsObject.fields("error").asJsObject.fields("code").asInstanceOf[JsString].value

  override def afterAll(): Unit = {
    systems.foreach(system => await(system.terminate()))
    files.foreach(Files.deleteIfExists)
    super.afterAll()
  }
}
