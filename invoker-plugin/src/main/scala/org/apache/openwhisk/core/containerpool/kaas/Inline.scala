package org.apache.openwhisk.core.containerpool.kaas

import scala.concurrent.ExecutionContext

/** Runs where the future was completed: for steps of a few instructions. */
private[kaas] object Inline extends ExecutionContext {
  override def execute(runnable: Runnable): Unit = runnable.run()

  override def reportFailure(cause: Throwable): Unit = ExecutionContext.defaultReporter(cause)
}
