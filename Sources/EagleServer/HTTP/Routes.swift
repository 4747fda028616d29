import Foundation
import Hummingbird
import NIOCore

/// Routes every request to its endpoint, and checks whether it is allowed.
struct Routes: HTTPResponder {
  typealias Context = ConnectionContext

  let access: AccessRules
  let generation: GenerationEndpoint
  let metrics: ServerMetrics
  let engine: Engine
  let state: ServerState
  /// The names of the model; the first is its own.
  let names: [String]
  /// The architecture of the draft head; nil without one.
  let draft: String?
  let crossOrigin: CrossOrigin
  let created: Int

  private enum Route {
    case page, health, metrics, models
    case model(String)
    case generate(TextEndpoint)

    /// Its path in the metrics, without the names of models, which would create too many series.
    var name: String {
      switch self {
      case .page: "/"
      case .health: "/health"
      case .metrics: "/metrics"
      case .models: "/v1/models"
      case .model: "/v1/models/{model}"
      case .generate(.chat): "/v1/chat/completions"
      case .generate(.completion): "/v1/completions"
      case .generate(.response): "/v1/responses"
      }
    }

    var methods: [HTTPRequest.Method] {
      if case .generate = self { [.post] } else { [.get, .head] }
    }

    /// Whether it is accessible without the key.
    var isOpen: Bool {
      switch self {
      case .page, .health: true
      default: false
      }
    }

    /// API paths are accepted with or without /v1 and with or without a trailing slash, because clients write base URLs
    /// in all these forms.
    init?(path: String) {
      let whole = path.count > 1 && path.hasSuffix("/") ? String(path.dropLast()) : path
      let name = whole.hasPrefix("/v1/") ? String(whole.dropFirst("/v1".count)) : whole
      switch (whole, name) {
      case ("/", _): self = .page
      case ("/health", _): self = .health
      case ("/metrics", _): self = .metrics
      case (_, "/models"): self = .models
      case (_, "/chat/completions"): self = .generate(.chat)
      case (_, "/completions"): self = .generate(.completion)
      case (_, "/responses"): self = .generate(.response)
      case _ where name.hasPrefix("/models/"):
        self = .model(name.dropFirst("/models/".count).removingPercentEncoding ?? "")
      default: return nil
      }
    }
  }

  func respond(to request: Request, context: ConnectionContext) async throws -> Response {
    let response =
      request.method == .options ? preflight(request) : await answer(to: request, context)
    let shown = response.adding(crossOrigin.headers(for: request.headers[.origin]))
    return request.method == .head ? shown.createHeadResponse() : shown
  }

  private func answer(to request: Request, _ context: ConnectionContext) async -> Response {
    let path = request.uri.path
    guard let route = Route(path: path) else { return refuse(.unknownRoute(path), endpoint: "other") }
    do {
      try check(request, route, path: path)
      if case .generate(let endpoint) = route {
        return try await generation.respond(to: request, endpoint, name: route.name, context.channel)
      }
      let response = try answer(route)
      metrics.count(endpoint: route.name, status: response.status.code)
      return response
    } catch let error as APIError {
      return refuse(error, endpoint: route.name)
    } catch {
      return await refuseUnread(context.channel, endpoint: route.name)
    }
  }

  /// The response to a request whose body could not be read: the client has disconnected, or its body is not valid
  /// HTTP.
  ///
  /// A client that has closed only its sending side can still read the response, but the metrics count it as gone.
  private func refuseUnread(_ channel: any Channel, endpoint: String) async -> Response {
    let hasLeft = try? await channel.eventLoop.submit {
      try channel.pipeline.syncOperations.handler(type: ConnectionGuard.self).inputIsClosed
    }.get()
    if hasLeft == false {
      return refuse(.invalid("the request could not be read: its body is not HTTP"), endpoint: endpoint)
    }
    metrics.count(endpoint: endpoint, status: APIError.clientGone.status)
    return .refusal(.invalid("the request ended before its body was whole"))
  }

  /// The response to OPTIONS: the allowed methods, and the CORS header fields for a page of another origin.
  private func preflight(_ request: Request) -> Response {
    let methods = Route(path: request.uri.path).map { $0.methods + [.options] } ?? [.options]
    let asked = HTTPFields.Element.Name("Access-Control-Request-Headers").flatMap { request.headers[$0] }
    metrics.count(endpoint: Route(path: request.uri.path)?.name ?? "other", status: 204)
    return Response(status: .noContent, headers: [.allow: Self.list(methods)])
      .adding(crossOrigin.preflight(for: request.headers[.origin], asked: asked))
  }

  private static func list(_ methods: [HTTPRequest.Method]) -> String {
    methods.map(\.rawValue).joined(separator: ", ")
  }

  private func check(_ request: Request, _ route: Route, path: String) throws {
    guard route.methods.contains(request.method) else {
      throw APIError.wrongMethod("\(request.method)", path, allowed: Self.list(route.methods))
    }
    try access.checkHost(request.head.authority)
    if !route.isOpen { try access.checkKey(request.headers[.authorization]) }
    if case .generate = route {
      if state.isStopping { throw APIError.stopping }
      try access.checkContentType(request.headers[.contentType])
    }
  }

  private func answer(_ route: Route) throws -> Response {
    switch route {
    case .page: return .page(ByteBuffer(bytes: PackageResources.chat_html))
    case .health:
      let isStopping = state.isStopping
      return .json(
        encodeJSON(["status": isStopping ? "stopping" : "ok"]), status: isStopping ? .serviceUnavailable : .ok)
    case .metrics:
      let text = metrics.text(waiting: engine.queue.count, running: engine.runningCount, cached: engine.cachedTokens)
      return Response(
        status: .ok, headers: [.contentType: "text/plain; version=0.0.4; charset=utf-8"],
        body: ResponseBody(byteBuffer: ByteBuffer(string: text)))
    case .models: return .json(encodeJSON(ModelList(data: names.map(model))))
    case .model(let name):
      guard names.contains(name) else { throw APIError.unknownModel(name, served: names) }
      return .json(encodeJSON(model(name)))
    case .generate: preconditionFailure("a text is no answer of this kind")
    }
  }

  private func model(_ name: String) -> Model {
    Model(id: name, created: created, eagle: draft.map(ModelDetails.init))
  }

  private func refuse(_ error: APIError, endpoint: String) -> Response {
    metrics.count(endpoint: endpoint, status: error.status)
    return .refusal(error)
  }

  private struct ModelList: Encodable {
    let object = "list"
    let data: [Model]
  }

  private struct Model: Encodable {
    let id: String
    let object = "model"
    let created: Int
    let ownedBy = "eagle-run"
    let eagle: ModelDetails?
  }

  /// The extension field of this server, which clients may ignore.
  private struct ModelDetails: Encodable {
    let draftArchitecture: String
  }
}

extension Response {
  static func json(_ body: Data, status: HTTPResponse.Status = .ok, headers: HTTPFields = [:]) -> Response {
    var headers = headers
    headers[.contentType] = "application/json"
    return Response(status: status, headers: headers, body: ResponseBody(byteBuffer: ByteBuffer(bytes: body)))
  }

  static func refusal(_ error: APIError, headers: HTTPFields = [:]) -> Response {
    var headers = headers
    for (name, value) in error.headers { headers[HTTPFields.Element.Name(name)!] = value }
    return .json(error.body, status: HTTPResponse.Status(code: error.status), headers: headers)
  }
}

extension Response {
  /// A page of this server. Its content security policy allows it to load nothing from other hosts and to connect to
  /// this server only.
  static func page(_ html: ByteBuffer) -> Response {
    Response(
      status: .ok,
      headers: [
        .contentType: "text/html; charset=utf-8",
        .contentSecurityPolicy:
          "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'",
        .cacheControl: "no-cache",
      ],
      body: ResponseBody(byteBuffer: html))
  }
}
