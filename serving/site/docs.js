window.ui = SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#docs",
  docExpansion: "none",
  filter: true,
  validatorUrl: null,
  persistAuthorization: false,
});
