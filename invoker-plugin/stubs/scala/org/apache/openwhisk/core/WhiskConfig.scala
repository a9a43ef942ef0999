/* Signatures of OpenWhisk, written by hand; see stubs/README.md. */
package org.apache.openwhisk.core

/** Handed on to the delegate and never looked at; the real constructor takes more. */
class WhiskConfig
