package org.apache.openwhisk.core.containerpool.kaas

import spray.json.{JsObject, JsString}

/** A breach of OpenWhisk's protocol, which it answers with a text in place of an error object. */
final case class Refusal(status: Int, text: String) extends Exception(text, null, false, false) {
  def toJson: JsObject = JsObject("error" -> JsString(text))
}
