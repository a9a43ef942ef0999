package org.apache.openwhisk.core.containerpool.kaas

import scala.concurrent.duration._

import spray.json._

/** The plugin replays the fixtures that it shares with the action proxy (tests/contract-fixtures). */
class ContractFixturesSuite extends PluginSuite {
  private val pool = new ScriptedPool
  private val kernels = new Kernels(KaasConfig.load(configuration(settings(pool.url))), 1L << 30)
  private val memory = 128L << 20
  private val action = new KernelAction(kernels, memory)
  private val environment = JsObject("__OW_NAMESPACE" -> JsString("guest"))
  assert(await(action.init(JsObject("value" -> JsObject("code" -> JsString(bundle))), 60.seconds)).status == 200)

  private def fixtures(name: String): JsValue = text(root.resolve(s"tests/contract-fixtures/$name")).parseJson

  private def string(value: JsValue): String = value.asInstanceOf[JsString].value

  private def items(value: JsValue): Seq[JsValue] = value.asInstanceOf[JsArray].elements

  private def reply(value: JsValue, id: String): Reply = value match {
    case JsObject(fields) =>
      val status = fields("status").asInstanceOf[JsNumber].value.toInt
      Answered(status, fields.get("text").map(string).getOrElse(fields("body").compactPrint.replace("$id", id)))
    case _ => Closed
  }

  private def checkAnswer(expected: Map[String, JsValue], answer: Answer): Unit = {
    assert(answer.status == expected("status").asInstanceOf[JsNumber].value.toInt, answer.body)
    expected.get("body").foreach(body => assert(answer.body == body))
    expected.get("code").foreach(code => assert(answer.body.fields("error").asJsObject.fields("code") == code))
    expected.get("error").foreach {
      case JsObject(fields) => assert(fields.toSet subsetOf answer.body.fields("error").asJsObject.fields.toSet)
      case whole            => assert(answer.body == JsObject("error" -> whole))
    }
  }

  items(fixtures("init.json")).map(_.asJsObject.fields).foreach { fixture =>
    test(s"init: ${string(fixture("name"))}") {
      val value = fixture("value") match {
        case JsObject(fields) =>
          val code = if (fields.get("code").contains(JsString("$bundle"))) JsString(bundle) else fields("code")
          JsObject(Map("env" -> environment) ++ fields.filterNot(_ == ("env" -> JsNull)) + ("code" -> code))
        case other => other
      }
      pool.upload = fixture.get("upload").fold[Request => Reply](ScriptedPool.uploaded)(answer => _ => reply(answer, ""))
      val answer = await(new KernelAction(kernels, memory).init(JsObject("value" -> value), 60.seconds))
      checkAnswer(fixture("answer").asJsObject.fields, answer)
      assert(answer.logs.nonEmpty == (answer.status != 200))
    }
  }

  private val runs = fixtures("run.json").asJsObject.fields

  items(runs("cases")).map(_.asJsObject.fields).foreach { fixture =>
    test(s"run: ${string(fixture("name"))}") {
      val answers = items(fixture("pool")).iterator
      pool.forget()
      pool.upload = ScriptedPool.uploaded
      pool.script = request => reply(answers.next(), string(request.json.fields("id")))
      val body = JsObject(runs("defaults").asJsObject.fields ++ fixture("run").asJsObject.fields)
      val answer = await(action.run(body, 60.seconds))

      assert(pool.methods == items(fixture("requests")).map(string))
      fixture.get("sent").foreach(_.asJsObject.fields.foreach {
        case (name, value) => assert(pool.invocations.last.json.fields(name) == value)
      })
      checkAnswer(fixture("answer").asJsObject.fields, answer)
      val isFailed = answer.body.fields.contains("error")
      if (isFailed) {
        assert(answer.body.fields("error").asJsObject.fields("activation") == body.fields("activation_id"))
      }
      def lines(stream: String): Seq[String] = answer.logs.filter(_.stream == stream).map(_.text)
      // After the pool's lines: the summary; and the error, if there is one.
      assert(lines("stdout").init == fixture.get("stdout").toSeq.flatMap(items).map(string))
      assert(lines("stderr").dropRight(if (isFailed) 1 else 0) == fixture.get("stderr").toSeq.flatMap(items).map(string))
    }
  }

  override def afterAll(): Unit = {
    pool.close()
    super.afterAll()
  }
}
