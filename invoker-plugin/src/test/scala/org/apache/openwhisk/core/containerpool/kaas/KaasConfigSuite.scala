package org.apache.openwhisk.core.containerpool.kaas

import scala.collection.JavaConverters._
import scala.concurrent.duration._

import com.typesafe.config.{ConfigException, ConfigFactory}

/** The settings, and the pages that list them. */
class KaasConfigSuite extends PluginSuite {
  private def load(values: (String, Any)*): KaasConfig = KaasConfig.load(configuration(values.toMap))

  private def refusal(values: (String, Any)*): String = intercept[ConfigException](load(values: _*)).getMessage

  private val reference =
    ConfigFactory.parseFile(root.resolve("invoker-plugin/src/main/resources/reference.conf").toFile).getConfig("kaas")

  test("the defaults are those of reference.conf") {
    val config = load()
    assert(config.kind == "kaas:1")
    assert(config.delegate.exists(_.endsWith("docker.DockerContainerFactoryProvider")))
    assert((config.pool.url, config.pool.caFile) == ((None, None)))
    assert(config.pool.reconnect == 5.seconds)
    assert(config.initWait == 10.seconds)
    assert(config.backPressure == BackPressureConfig(0.5, 64, 64, 2.seconds))
  }

  test("values that an environment brings are texts") {
    val config = load("kaas.back-pressure.running" -> "8", "kaas.init-wait" -> "500 ms", "kaas.delegate" -> "none")
    assert((config.backPressure.running, config.initWait, config.delegate) == ((8, 500.millis, None)))
  }

  test("a setting that does not exist is refused, with those that do") {
    val message = refusal("kaas.pool.uri" -> "http://127.0.0.1:7233")
    assert(message.contains("kaas.pool.uri") && message.contains("pool.url"))
  }

  test("values that cannot be meant are refused, with their place") {
    Seq(
      "kaas.back-pressure.memory-share" -> 0,
      "kaas.back-pressure.memory-share" -> 1.1,
      "kaas.back-pressure.memory-share" -> "half",
      "kaas.back-pressure.running" -> 0,
      "kaas.back-pressure.waiting" -> -1,
      "kaas.back-pressure.wait" -> "-1s",
      "kaas.back-pressure.wait" -> "soon",
      "kaas.kind" -> "",
      "kaas.delegate" -> "",
      "kaas.pool.url" -> "pool:7233",
      "kaas.pool.url" -> "ftp://pool:21",
      "kaas.pool.url" -> "https://user:password@pool",
      "kaas.pool.url" -> "https://pool/?a=b",
      "kaas.pool.url" -> "https://po ol").foreach(one => assert(refusal(one).contains(one._1), one))
  }

  test("the token crosses no network in the clear, unless the operator says so") {
    assert(refusal("kaas.pool.url" -> "http://pool.example:7233").contains("allow-plaintext"))
    val allowed = load("kaas.pool.url" -> "http://pool.example:7233", "kaas.pool.allow-plaintext" -> true)
    assert(allowed.pool.url.exists(_.getHost == "pool.example"))
    Seq("http://127.0.0.1:7233", "http://localhost:7233", "http://[::1]:7233", "https://pool.example").foreach { url =>
      assert(load("kaas.pool.url" -> url).pool.url.mkString == url)
    }
  }

  test("every setting of reference.conf is explained there") {
    reference.entrySet.asScala.foreach(one => assert(!one.getValue.origin.comments.isEmpty, one.getKey))
  }

  test("README's table is reference.conf") {
    val row = """\| `kaas\.([a-z.-]+)` \| `([^`]*)` \| .+ \|""".r
    val listed = text(root.resolve("invoker-plugin/README.md")).linesIterator.collect {
      case row(key, default) => key -> default
    }.toMap
    val there = reference.entrySet.asScala.map(one => one.getKey -> one.getValue.unwrapped.toString).toMap
    assert(listed == there)
  }
}
