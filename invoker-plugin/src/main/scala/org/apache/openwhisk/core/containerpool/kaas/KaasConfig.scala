package org.apache.openwhisk.core.containerpool.kaas

import java.net.URI
import java.nio.file.{Path, Paths}

import scala.collection.JavaConverters._
import scala.concurrent.duration.{FiniteDuration, MILLISECONDS}
import scala.util.Try

import com.typesafe.config.{Config, ConfigException, ConfigFactory}

/** The section `kaas` of the invoker's configuration; `reference.conf` says what each key means. */
final case class KaasConfig(kind: String,
                            delegate: Option[String],
                            pool: PoolConfig,
                            initWait: FiniteDuration,
                            backPressure: BackPressureConfig)

/** Where the pool is and how to speak to it. */
final case class PoolConfig(url: Option[URI], tokenFile: Path, caFile: Option[Path], reconnect: FiniteDuration)

/** How much of the invoker's memory kernel activations may hold, how many may be at the pool or wait, and how long. */
final case class BackPressureConfig(memoryShare: Double, running: Int, waiting: Int, patience: FiniteDuration)

object KaasConfig {

  /** Raises ConfigException, which stops the invoker, for an unknown key or a value that cannot be meant. */
  def load(all: Config): KaasConfig = {
    val known = keys(ConfigFactory.parseResources(getClass.getClassLoader, "reference.conf"))
    (keys(all) -- known).toSeq.sorted.headOption.foreach { key =>
      throw new ConfigException.BadPath(s"kaas.$key", s"no such setting; there are ${known.toSeq.sorted.mkString(", ")}")
    }
    val reader = new Reader(all)
    KaasConfig(
      reader.text("kaas.kind"),
      Some(reader.text("kaas.delegate")).filter(_ != "none"),
      PoolConfig(
        url(all),
        Paths.get(reader.text("kaas.pool.token-file")),
        Some(all.getString("kaas.pool.ca-file")).filter(_.nonEmpty).map(Paths.get(_)),
        reader.duration("kaas.pool.reconnect")),
      reader.duration("kaas.init-wait"),
      BackPressureConfig(
        reader.share("kaas.back-pressure.memory-share"),
        reader.count("kaas.back-pressure.running", 1),
        reader.count("kaas.back-pressure.waiting", 0),
        reader.duration("kaas.back-pressure.wait")))
  }

  private def keys(all: Config): Set[String] = all.getConfig("kaas").entrySet.asScala.map(_.getKey).toSet

  private def url(config: Config): Option[URI] = Some(config.getString("kaas.pool.url")).filter(_.nonEmpty).map { text =>
    def refuse(why: String) = throw new ConfigException.BadValue(config.origin, "kaas.pool.url", s"$text: $why")
    val uri = Try(URI.create(text)).getOrElse(refuse("not a URL"))
    if (!Set("http", "https").contains(uri.getScheme) || uri.getHost == null) refuse("it looks like https://host:port")
    if (uri.getUserInfo != null || uri.getQuery != null || uri.getFragment != null) refuse("host, port and path only")
    if (uri.getScheme == "http" && !isLoopback(uri.getHost) && !config.getBoolean("kaas.pool.allow-plaintext"))
      refuse("the token would cross the network in the clear; use https, or set kaas.pool.allow-plaintext")
    uri
  }

  private def isLoopback(host: String): Boolean =
    host == "localhost" || host == "[::1]" || host.matches("""127\.\d+\.\d+\.\d+""")

  private final class Reader(config: Config) {
    def text(key: String): String = checked(key, config.getString(key))(_.nonEmpty, "may not be empty")

    def count(key: String, least: Int): Int =
      checked(key, config.getInt(key))(_ >= least, s"has to be at least $least")

    def share(key: String): Double =
      checked(key, config.getDouble(key))(value => value > 0 && value <= 1, "has to be over 0 and at most 1")

    def duration(key: String): FiniteDuration =
      FiniteDuration(checked(key, config.getDuration(key).toMillis)(_ >= 0, "may not be negative"), MILLISECONDS)

    private def checked[A](key: String, value: A)(isGood: A => Boolean, problem: String): A =
      if (isGood(value)) value else throw new ConfigException.BadValue(config.origin, key, problem)
  }
}
