package org.apache.openwhisk.core.containerpool.kaas

import java.util

/** The values that were put or asked for last, at most `most`. */
final class Recent[K, V](most: Int) {
  private val entries = new util.LinkedHashMap[K, V](16, 0.75f, true) {
    override def removeEldestEntry(eldest: util.Map.Entry[K, V]): Boolean = size > most
  }

  /** The value under a key, if it is still there. */
  def get(key: K): Option[V] = entries.synchronized(Option(entries.get(key)))

  /** Remember a value. */
  def put(key: K, value: V): Unit = entries.synchronized { entries.put(key, value); () }

  /** Forget it. */
  def remove(key: K): Unit = entries.synchronized { entries.remove(key); () }
}
