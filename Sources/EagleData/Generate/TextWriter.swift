import EagleClient
import EagleCluster
import EagleCore
import EagleModels

/// The author of generated text.
package enum TextWriter {
  /// The local target.
  case target(TargetModel)
  case server(AnswerServer)
}

/// A server of OpenAI's API, with its key and settings.
package struct AnswerServer {
  let config: AnswerServerConfig
  /// The bearer token.
  let key: String?
  let policy: RetryPolicy

  package init(_ config: AnswerServerConfig, key: String?, policy: RetryPolicy = RetryPolicy()) {
    (self.config, self.key, self.policy) = (config, key, policy)
  }

  /// Connects to the server; rank 0 asks it for its models. Collective. The caller must call `close`.
  ///
  /// - Parameter section: the recipe's section, for errors
  /// - Throws: when the server cannot be reached, rejects the key, or does not have the model
  func connect(_ section: String, _ cluster: any Communicator) throws -> ServedModel {
    let client = try CompletionClient(
      ServerAddress(config.url), key: key, connections: config.concurrency, policy: policy)
    do {
      let name = try cluster.fromRoot { try model(among: client.models(), section) }
      return ServedModel(client: client, name: name, concurrency: config.concurrency)
    } catch {
      client.close()
      throw error
    }
  }

  private func model(among names: [String], _ section: String) throws -> String {
    guard !config.model.isEmpty else { return names[0] }
    guard names.contains(config.model) else {
      throw LocatedError(
        path: "\(section).server_model", problem: "'\(config.model)' is not served at \(config.url)",
        advice: "it has \(names.prefix(5).map { "'\($0.prefix(100))'" }.joined(separator: ", "))")
    }
    return config.model
  }
}

/// A model on a server that has answered.
struct ServedModel {
  let client: CompletionClient
  /// Its name on the server.
  let name: String
  /// The number of concurrent requests of this rank.
  let concurrency: Int

  func close() { client.close() }
}
