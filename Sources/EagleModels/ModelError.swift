import EagleStorage

/// What does not fit about a model: where, what, and what the reader of the message can do.
public struct ModelError: LocatedError {
  public let path: String
  public let problem: String
  public let advice: String?

  public init(path: String, problem: String, advice: String? = nil) {
    self.path = path
    self.problem = problem
    self.advice = advice
  }
}
