import EagleDecoding
import EagleDraft
import Foundation

/// The address of a server, and its limits.
package struct ServerConfig: Sendable {
  package var host = "127.0.0.1"
  /// The port; 0 selects a free one.
  package var port = 8080
  /// The bearer token that clients must send; nil allows every client that reaches the server.
  package var apiKey: String?
  /// The model names that requests may contain; responses contain the first.
  package var modelNames: [String]
  /// Whether requests may contain any other name too.
  package var takesAnyModel = false
  /// Whether an unknown field is an error. Otherwise it is ignored, and the response names it.
  package var isStrict = false
  /// Origins of other sites whose pages may send requests (CORS), such as `https://chat.example`; `*` allows any.
  package var corsOrigins: [String] = []
  /// The maximum number of waiting requests; further ones are rejected.
  package var queue = 32
  /// The maximum batch size in sequences; 1 decodes one sequence after the other.
  package var batch = 8
  /// The maximum number of tokens of a sequence, including its prompt; nil selects what fits.
  package var context: Int?
  /// The maximum size of all KV caches in bytes; nil selects half of the free memory.
  package var cacheBytes: Int?
  /// The maximum number of idle conversations whose KV caches stay in memory (prefix caching).
  package var conversations = 4
  /// Seconds that running requests have to finish when the server stops.
  package var stopSeconds = 30.0
  /// The sampling of a request that does not specify it; its seed is not used.
  package var sampling = Self.standardSampling
  /// The parser of tool calls in answers.
  package var toolParser = ParserChoice<ToolSyntax>.auto
  /// The parser of reasoning in answers.
  package var reasoningParser = ParserChoice<ReasoningStyle>.auto
  /// Where finished answers are recorded for training; nil records nothing.
  package var record: AnswerRecord?
  /// The maximum number of open connections; further ones wait to be accepted.
  package var connections = 512
  /// Seconds after which an idle connection is closed.
  package var idleSeconds = 60
  /// Seconds within which a client must read some of its response.
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

  /// The URL that a browser opens. A server that listens on all addresses is reached by the machine's name.
  package static func url(host: String, port: Int) -> String {
    let name = ["0.0.0.0", "::"].contains(host) ? ProcessInfo.processInfo.hostName : host
    return "http://\(name.contains(":") ? "[\(name)]" : name):\(port)/"
  }

  static func isLoopback(_ host: String) -> Bool {
    // Only numeric addresses of 127.0.0.0/8 are loopback: 127.evil.example is a name that may resolve to any address.
    var address = in_addr()
    let isAddress = inet_pton(AF_INET, host, &address) == 1
    return host == "localhost" || host == "::1" || host == "[::1]" || (isAddress && host.hasPrefix("127."))
  }
}
