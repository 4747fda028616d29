import EagleDecoding
import EagleDraft
import Foundation

/// The address of a server, and its limits.
package struct ServerConfig: Sendable {
  package var host = "127.0.0.1"
  /// The port; 0 takes a free one.
  package var port = 8080
  /// The bearer token that clients must send; nil lets everyone in who reaches the server.
  package var apiKey: String?
  /// The names that requests may carry; answers carry the first.
  package var modelNames: [String]
  /// Whether requests may carry any other name too.
  package var takesAnyModel = false
  /// Whether a field that is not known is an error. Otherwise it is ignored, and the answer says so.
  package var isStrict = false
  /// Origins of other sites whose pages may ask, `https://chat.example`; `*` is any.
  package var corsOrigins: [String] = []
  /// Requests that may wait; more are turned away.
  package var queue = 32
  /// The most texts of a batch; 1 generates one after the other.
  package var batch = 8
  /// Most tokens of a text, its prompt included; nil takes what fits.
  package var context: Int?
  /// Bytes that KV caches may take together; nil takes half of what is free.
  package var cacheBytes: Int?
  /// Conversations whose tokens stay in memory for their next turn.
  package var conversations = 4
  /// Seconds that running requests get when the server is to stop.
  package var stopSeconds = 30.0
  /// The sampling of a request that does not specify it; its seed is not used.
  package var sampling = Self.standardSampling
  /// What reads calls of tools in answers.
  package var toolParser = ParserChoice<ToolSyntax>.auto
  /// What reads reasoning in answers.
  package var reasoningParser = ParserChoice<ReasoningStyle>.auto
  /// Where finished answers are recorded for training; nil records nothing.
  package var record: AnswerRecord?
  /// Connections that are open at the same time; more wait to be accepted.
  package var connections = 512
  /// Seconds after which a connection is closed on which no request comes.
  package var idleSeconds = 60
  /// Seconds in which a client must read something of its answer.
  package var writeSeconds = 60

  /// The API's defaults.
  static var standardSampling: SamplingOptions {
    var options = SamplingOptions()
    options.temperature = 1
    return options
  }

  package init(modelName: String) { modelNames = [modelName] }

  /// Whether only this machine reaches the server.
  package var isLoopback: Bool { Self.isLoopback(host) }

  /// What a browser opens to reach a server: one that listens on all addresses is reached by the machine's name.
  package static func url(host: String, port: Int) -> String {
    let name = ["0.0.0.0", "::"].contains(host) ? ProcessInfo.processInfo.hostName : host
    return "http://\(name.contains(":") ? "[\(name)]" : name):\(port)/"
  }

  static func isLoopback(_ host: String) -> Bool {
    // Of 127.0.0.0/8 the addresses alone: 127.evil.example is a name, and leads anywhere.
    var address = in_addr()
    let isAddress = inet_pton(AF_INET, host, &address) == 1
    return host == "localhost" || host == "::1" || host == "[::1]" || (isAddress && host.hasPrefix("127."))
  }
}
