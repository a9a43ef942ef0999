/* Signatures of OpenWhisk, written by hand; see stubs/README.md. */
package org.apache.openwhisk.core.entity

/** Handed on and never looked at. */
class WhiskAction

/** Handed on and never looked at. */
class ExecutableWhiskAction

case class InvokerInstanceId(instance: Int,
                             uniqueName: Option[String] = None,
                             displayedName: Option[String] = None,
                             userMemory: ByteSize,
                             busyMemory: Option[ByteSize] = None,
                             tags: Seq[String] = Seq.empty,
                             dedicatedNamespaces: Seq[String] = Seq.empty)

object SizeUnits extends Enumeration {
  sealed abstract class Unit {
    def toBytes(n: Long): Long
  }
  case object BYTE extends Unit {
    def toBytes(n: Long): Long = n
  }
  case object MB extends Unit {
    def toBytes(n: Long): Long = n << 20
  }
}

case class ByteSize(size: Long, unit: SizeUnits.Unit) {
  def toBytes: Long = unit.toBytes(size)
}
