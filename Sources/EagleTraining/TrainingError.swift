import EagleStorage

/// What stops a stage: where, what, and what the reader of the message can do.
public struct TrainingError: LocatedError {
  public let path: String
  public let problem: String
  public let advice: String?

  public init(path: String, problem: String, advice: String? = nil) {
    self.path = path
    self.problem = problem
    self.advice = advice
  }
}
