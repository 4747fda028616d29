import EagleCaptureStore
import EagleTraining

/// The settings of capture and of training.
func chooseTraining() throws {
  var capture = CaptureConfig()
  capture.layers = .listed([1, 14, 26])
  capture.states = .int8
  try capture.validate()

  var train = TrainConfig()
  train.epochs = 2
  train.tttLength = 5
  train.learningRate = 5e-4
  train.featureRates = .bySize
  train.optimizer = .muon
  try train.validate()
  print(train.epochs, "epochs with", train.optimizer.rawValue, "on", capture.states.rawValue, "states")
}
