package org.apache.openwhisk.core.containerpool.kaas

/**
 * The bytes that OpenWhisk counts for busy containers of kernel actions, kept to `most` of them.
 *
 * OpenWhisk removes idle containers when it needs their memory; busy ones it waits for, CPU actions included.
 */
final class MemoryShare(val most: Long) {
  private val lock = new Object
  private var held = 0L

  /** A container, which counts while anything is under way in it, once however many activations that are. */
  final class Container(bytes: Long) {
    private var underway = 0

    /** Whether there is room, which is taken until `leave`. A container larger than the whole share is let in alone. */
    def enter(): Boolean = lock.synchronized {
      val hasRoom = underway > 0 || held == 0 || held + bytes <= most
      if (hasRoom) {
        if (underway == 0) held += bytes
        underway += 1
      }
      hasRoom
    }

    /** What entered has ended. */
    def leave(): Unit = lock.synchronized {
      underway -= 1
      if (underway == 0) held -= bytes
    }
  }
}
